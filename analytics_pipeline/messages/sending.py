"""Sends what is due, one message after the other, and remembers how each of them went.

A message is claimed in one short statement, sent outside of any transaction, and its outcome recorded. Just
before its last word it is marked as being transmitted, by the sender that holds it or by nobody. So a process
that dies before the mark has certainly delivered nothing, and its message is sent by another once its lease has
run out; one that dies after it leaves the message ``unknown``, for a person to decide.
"""

import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from analytics_pipeline.messages.channel import Channel, ChannelDown, DeliveryUnknown, NotDelivered, Refused
from analytics_pipeline.messages.channels import CHANNELS
from analytics_pipeline.messages.message import Attachment, ClaimedMessage, Kind, storable
from analytics_pipeline.signals import held_back
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row

# With the pauses of analytics_outbox_pause() about two days.
MAX_ATTEMPTS = 20
# Longer than any conversation takes; a sender that is slower loses its message before it is transmitted.
LEASE = timedelta(minutes=15)
_MAX_SHOWN = 5


@dataclass(slots=True)
class SendReport:
    """What one round came to, in messages; ``waiting`` are due and lack a channel, by the setting that it needs."""

    sent: int = 0
    again: int = 0
    failed: int = 0
    unknown: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def needs_a_person(self) -> bool:
        """Whether something was left that is not tried again."""
        return bool(self.failed or self.unknown)

    def __str__(self) -> str:
        """Say it for people."""
        counts = {
            "sent": self.sent,
            "to be tried again": self.again,
            "failed": self.failed,
            "possibly delivered": self.unknown,
            **{f"waiting for {setting}": number for setting, number in self.waiting.items()},
        }
        summary = ", ".join(f"{number} {what}" for what, number in counts.items() if number) or "nothing was due"
        return f"{summary}: {'; '.join(self.problems)}" if self.problems else summary

    def count(self, state: str, problem: str | None, number: int = 1) -> None:
        """Count messages by the state they came to."""
        match state:
            case "sent":
                self.sent += number
            case "pending":
                self.again += number
            case "failed":
                self.failed += number
            case "unknown":
                self.unknown += number
        if problem and problem not in self.problems and len(self.problems) < _MAX_SHOWN:
            self.problems.append(problem)


class LeaseLost(NotDelivered):
    """Another sender holds the message by now."""


class Transmitting:
    """Marks a message as being transmitted; raises ``LeaseLost`` when it is no longer this sender's."""

    def __init__(self, connection: Connection, sender: str, outbox_id: int, held: ExitStack) -> None:
        """Take what identifies the claim, and what holds back signals from the mark on."""
        self._connection = connection
        self._parameters = {"id": outbox_id, "sender": sender, "lease": LEASE}
        self._held = held

    def __call__(self) -> None:
        """Write the mark, durably; from now on the outcome is waited for, or nobody would know it."""
        self._held.enter_context(held_back())
        if self._connection.execute(load_query("outbox_transmitting"), self._parameters).rowcount != 1:
            raise LeaseLost("another sender has taken the message over, because this one was too slow")


def send_due(
    connection: Connection,
    channels: Mapping[str, Channel],
    *,
    domain: str,
    within: timedelta | None = None,
    kinds: Collection[Kind] | None = None,
) -> SendReport:
    """Send what is due by the given channels, oldest first, until nothing is or the time is up.

    Any number of senders may do it at once. ``domain`` ends the ids of messages; ``within`` bounds when the last one is
    begun; ``kinds`` None: messages of all kinds. Autocommit connection: a mark that is not committed protects nobody.
    """
    if not connection.autocommit:
        raise ValueError("the outbox needs an autocommit connection")
    report = SendReport()
    of_kinds = None if kinds is None else list(kinds)
    for settled, reason in _settle(connection, of_kinds):
        report.count(settled, reason)
    sender = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    claim = {"sender": sender, "lease": LEASE, "domain": domain, "kinds": of_kinds}
    ends_at = time.monotonic() + within.total_seconds() if within is not None else None
    usable = dict(channels)
    while usable and (ends_at is None or time.monotonic() < ends_at):
        if not _send_next(connection, usable, claim, report):
            break
    report.waiting = count_waiting(connection, channels)
    return report


def _send_next(
    connection: Connection, usable: dict[str, Channel], claim: Mapping[str, object], report: SendReport
) -> bool:
    """Send the next message and count it; return whether there was one. A channel that is down is taken out.

    Interrupted before the message is being transmitted, it gives it back; after that, it records the outcome first.
    """
    message = None
    sender = str(claim["sender"])
    with ExitStack() as held:
        try:
            with held_back():
                message = _claim(connection, usable, claim)
            if message is None:
                return False
            outcome, problem, is_down = _attempt(connection, usable[message.channel], sender, message, held)
            held.enter_context(held_back())
        except (KeyboardInterrupt, SystemExit):
            if message is not None:
                _record(connection, sender, message, "pending", "the sender was stopped before it knew of a delivery")
            raise
        for state in _record(connection, sender, message, outcome, problem):
            report.count(state, problem)
        if is_down:
            del usable[message.channel]
            for state, number in _defer(connection, message.channel, problem).items():
                report.count(state, problem, number)
    return True


def count_due(connection: Connection, channels: Mapping[str, Channel]) -> int:
    """Return how many messages a round would take up now."""
    return int(fetch_row(connection, load_query("outbox_due"), {"channels": list(channels)})[0])


def count_waiting(connection: Connection, channels: Mapping[str, Channel]) -> dict[str, int]:
    """Return how many messages are due and lack a channel, by the setting that it needs."""
    rows = connection.execute(load_query("outbox_waiting"), {"channels": list(channels)}).fetchall()
    # One of a newer release is named as it stands.
    settings: dict[str, str] = {name: channel.setting for name, channel in CHANNELS.items()}
    return {settings.get(channel) or channel: number for channel, number in rows}


def _settle(connection: Connection, kinds: list[Kind] | None) -> list[tuple[str, str]]:
    parameters = {"kinds": kinds, "most_attempts": MAX_ATTEMPTS}
    rows = connection.execute(load_query("outbox_settle"), parameters).fetchall()
    # What is due again is counted when it is sent.
    return [(state, problem) for state, problem in rows if state != "pending"]


def _claim(
    connection: Connection, channels: Mapping[str, Channel], claim: Mapping[str, object]
) -> ClaimedMessage | None:
    parameters = {**claim, "channels": list(channels)}
    row = connection.execute(load_query("outbox_claim"), parameters).fetchone()
    return None if row is None else _message(row)


def _message(row: tuple[Any, ...]) -> ClaimedMessage:
    outbox_id, kind, channel, target, subject, text, html, message_id, unsubscribe_key, *attached = row
    attachment = None if attached[0] is None else Attachment(*attached)
    return ClaimedMessage(
        outbox_id, kind, channel, target, subject, text, html, attachment, message_id, unsubscribe_key
    )


def _attempt(
    connection: Connection, channel: Channel, sender: str, message: ClaimedMessage, held: ExitStack
) -> tuple[str, str | None, bool]:
    """Send one message; return the outcome, the problem, and whether the channel is down."""
    try:
        channel.send(message, Transmitting(connection, sender, message.outbox_id, held))
    except Refused as error:
        return "failed", str(error), False
    except NotDelivered as error:
        return "pending", str(error), isinstance(error, ChannelDown)
    except DeliveryUnknown as error:
        return "unknown", str(error), False
    return "sent", None, False


def _record(
    connection: Connection, sender: str, message: ClaimedMessage, outcome: str, problem: str | None
) -> list[str]:
    rows = connection.execute(
        load_query("outbox_result"),
        {
            "id": message.outbox_id,
            "sender": sender,
            "outcome": outcome,
            "problem": problem and storable(problem),
            "most_attempts": MAX_ATTEMPTS,
        },
    ).fetchall()
    return [state for (state,) in rows]


def _defer(connection: Connection, channel: str, problem: str | None) -> Counter[str]:
    rows = connection.execute(
        load_query("outbox_channel_down"),
        {"channel": channel, "problem": problem and storable(problem), "most_attempts": MAX_ATTEMPTS},
    ).fetchall()
    return Counter(state for (state,) in rows)
