"""Remembers failures, tells each once, tells its recovery once, and loses nothing in between.

Belongs here: the rows of ``analytics_notifications`` and when a message is due. Does not belong here: wording
(``text``), channels (``notifier``).

A failure is recorded first and told then, so nothing is lost when mail fails: the message stays pending and is
tried again after a minute, two, four, at most an hour, for about a week; then it is ``undelivered`` and written
to the log. A message that the server may have taken (``unknown``) is not sent again: it would be told twice.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from analytics_pipeline.messages.notifier import DeliveryUnknown, NotDelivered, Notifier
from analytics_pipeline.messages.wording import Incident, compose, first_line, without_credentials
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.connection import Connection

_log = logging.getLogger("analytics_pipeline.notify")

# One message holds so many incidents; the rest follows with the next tick.
MOST_PER_MESSAGE = 50
_MOST_ATTEMPTS = 170
_SUBJECT_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Failure:
    """One occurrence of a failure. ``source`` and ``subject`` say what fails and stay the same while it does."""

    source: str
    subject: str
    at: datetime
    error: str
    remedy: str
    since: datetime | None = None
    partitions: str | None = None
    link: str | None = None
    details: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OpenFailure:
    """A recorded failure that has not recovered."""

    subject: str
    last_at: datetime
    details: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """What one attempt to tell came to: how many incidents it was about, and what went wrong, if anything.

    ``unreached`` says which operators were not reached though others were.
    """

    incidents: int
    problem: str | None = None
    unreached: str | None = None

    def __str__(self) -> str:
        """Say it for the tick history."""
        what = f"{self.incidents} {'incident' if self.incidents == 1 else 'incidents'}"
        if self.problem:
            return f"{what} could not be told: {self.problem}"
        return f"{what} told, but {self.unreached}" if self.unreached else f"{what} told"


def record_failure(connection: Connection, failure: Failure) -> None:
    """Record one occurrence; recording the same one again changes nothing.

    The first one, and one after a day without any, make a message due. Autocommit connection.
    """
    subject = _subject(failure.subject)
    connection.execute(
        load_sql("queries/notify_failure.sql"),
        {
            "key": f"{failure.source}:{subject}:{failure.at.isoformat()}",
            "source": failure.source,
            "subject": subject,
            "at": failure.at,
            "since": failure.since or failure.at,
            "partitions": failure.partitions,
            "error": _storable(first_line(failure.error)),
            "remedy": _storable(without_credentials(failure.remedy)),
            "link": failure.link,
            "details": json.dumps(dict(failure.details)),
        },
    )


def record_recovery(
    connection: Connection, source: str, subject: str, at: datetime, recovery: str | None = None
) -> bool:
    """Close the subject's open failure, if there is one from before ``at``, and make that message due."""
    parameters = {"source": source, "subject": _subject(subject), "at": at, "recovery": recovery}
    return connection.execute(load_sql("queries/notify_recovery.sql"), parameters).rowcount > 0


def open_failures(connection: Connection, source: str) -> list[OpenFailure]:
    """Return what one source has recorded and not yet seen recover."""
    rows = connection.execute(load_sql("queries/notify_open.sql"), {"source": source}).fetchall()
    return [OpenFailure(*row) for row in rows]


def deliver_due(connection: Connection, notifier: Notifier) -> DeliveryReport:
    """Tell what is due, in one message, and remember how that went. Autocommit connection.

    No transaction is open while the channel is spoken to: it may take its time.
    """
    rows = connection.execute(load_sql("queries/notify_claim.sql"), {"most": MOST_PER_MESSAGE}).fetchall()
    incidents = sorted((Incident(*row) for row in rows), key=lambda incident: (incident.first_at, incident.key))
    if not incidents:
        return DeliveryReport(0)
    message = compose(incidents)
    outcome, problem, unreached = "sent", None, None
    try:
        unreached = notifier.send(message)
    except NotDelivered as error:
        outcome, problem = "pending", str(error)
    except DeliveryUnknown as error:
        outcome, problem = "unknown", str(error)
        _log.warning("%s. It is not sent again: %s", error, printable_line(message.subject))
    results = connection.execute(
        load_sql("queries/notify_result.sql"),
        {
            "outcome": outcome,
            "problem": None if (said := problem or unreached) is None else _storable(said),
            "most_attempts": _MOST_ATTEMPTS,
            "keys": [incident.key for incident in incidents],
            "recovered": [incident.recovered_at for incident in incidents],
        },
    ).fetchall()
    for subject, state in results:
        if state == "undelivered":
            _log.error("Given up telling operators about %s: %s", printable_line(subject), problem)
    return DeliveryReport(len(incidents), problem, unreached)


def _subject(subject: str) -> str:
    return _storable(" ".join(subject.split()))[:_SUBJECT_CHARACTERS]


def _storable(text: str) -> str:
    """Return the text with what PostgreSQL can't store escaped."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
