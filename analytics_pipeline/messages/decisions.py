"""What people see of the outbox, and what they decide about messages that are not sent by themselves any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from analytics_pipeline.errors import AnalyticsError, UnknownNameError
from analytics_pipeline.messages.mailed import ChangedFigure, Relation, changed_figures_of
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection

STATES = ("pending", "sending", "sent", "failed", "unknown", "discarded")


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message as it stands; ``problem`` says why it has not been sent, as far as there is a reason.

    Of a report that was mailed ``relation`` says what the document that counts now is to the mailed one, by which
    ``definitions`` and ``current_definitions`` they are, and ``changes`` which figures differ under the same ones.
    """

    relation: Relation | None
    changes: Sequence[ChangedFigure]
    outbox_id: int
    kind: str
    channel: str
    company_id: str | None
    report: str | None
    period: str | None
    target: str
    subject: str
    state: str
    problem: str | None
    created_at: datetime
    attempts: int
    next_attempt_at: datetime
    sent_at: datetime | None
    message_id: str | None
    definitions: int | None
    current_definitions: int | None


def list_messages(
    connection: Connection,
    *,
    state: str | None = None,
    company_id: str | None = None,
    most: int = 100,
    outdated: bool = False,
) -> list[OutboxRow]:
    """Return the newest messages first, of one state or company if one is given.

    ``outdated``: only reports whose recipients were mailed nothing newer than a document that counts no more.
    """
    parameters = {"state": state, "company": company_id, "most": most, "outdated": outdated}
    rows = connection.execute(load_query("outbox_list"), parameters).fetchall()
    return [
        OutboxRow(relation and Relation(relation), changed_figures_of(changes), *fields)
        for relation, changes, *fields in rows
    ]


def retry_messages(connection: Connection, ids: Sequence[int]) -> None:
    """Make failed, unknown and discarded messages due again, all or none of them.

    An unknown one may arrive twice then, with the same Message-ID. Raises ``AnalyticsError`` naming what can't be.
    """
    _decide(
        connection,
        "outbox_retry",
        "message.retry",
        ids,
        "sent again: only what failed, is unknown or was discarded can be",
    )


def discard_messages(connection: Connection, ids: Sequence[int]) -> None:
    """Never send pending, failed and unknown messages, all or none of them; raises ``AnalyticsError`` likewise."""
    _decide(
        connection,
        "outbox_discard",
        "message.discard",
        ids,
        "discarded: only what is pending, failed or unknown can be",
    )


def _raise_undecided(connection: Connection, number: int, otherwise: str) -> NoReturn:
    row = connection.execute(load_query("outbox_state"), {"id": number}).fetchone()
    if row is None:
        raise UnknownNameError(
            f"Nothing was changed: there is no message {number}. 'analytics-pipeline outbox list' shows those that "
            "there are."
        )
    raise AnalyticsError(f"Nothing was changed: message {number} is {row[0]}, and can't be {otherwise}.")


def _decide(connection: Connection, query: str, act: str, ids: Sequence[int], otherwise: str) -> None:
    wanted = set(ids)
    with connection.transaction():
        decided = {row[0] for row in connection.execute(load_query(query), {"ids": list(wanted)})}
        if left := sorted(wanted - decided):
            _raise_undecided(connection, left[0], otherwise)
        for number in sorted(wanted):
            audit.record(connection, act, str(number), {})
