"""Remembers failures, has operators notified of each once and of its recovery once, and loses nothing in between.

A failure is recorded first; its message is enqueued afterwards, in the transaction that says so.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.messages.addresses import Address
from analytics_pipeline.messages.enqueue import Message, enqueue_incidents
from analytics_pipeline.messages.incident_text import Incident, compose
from analytics_pipeline.messages.message import storable
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.text import error_summary, without_credentials
from analytics_pipeline.timescale.connection import Connection

# One message holds so many incidents; the rest is another one.
MAX_PER_MESSAGE = 50
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


def record_failure(connection: Connection, failure: Failure) -> None:
    """Record one occurrence; recording the same one again changes nothing.

    The first one, and one after a day without any, make a message due. Autocommit connection.
    """
    subject = _subject(failure.subject)
    connection.execute(
        load_query("incident_failure"),
        {
            "key": f"{failure.source}:{subject}:{failure.at.isoformat()}",
            "source": failure.source,
            "subject": subject,
            "at": failure.at,
            "since": failure.since or failure.at,
            "partitions": failure.partitions,
            "error": storable(error_summary(failure.error)),
            "remedy": storable(without_credentials(failure.remedy)),
            "link": failure.link,
            "details": json.dumps(dict(failure.details)),
        },
    )


def record_recovery(
    connection: Connection, source: str, subject: str, at: datetime, recovery: str | None = None
) -> bool:
    """Close the subject's open failure, if there is one from before ``at``, and make that message due."""
    parameters = {"source": source, "subject": _subject(subject), "at": at, "recovery": recovery}
    return connection.execute(load_query("incident_recovery"), parameters).rowcount > 0


def open_failures(connection: Connection, source: str) -> list[OpenFailure]:
    """Return what one source has recorded and not yet seen recover."""
    rows = connection.execute(load_query("incident_open"), {"source": source}).fetchall()
    return [OpenFailure(*row) for row in rows]


def enqueue_due(connection: Connection, addresses: Sequence[Address], locale: str = DEFAULT_LOCALE) -> int:
    """Put the messages that are due into the outbox and return how many incidents they are about.

    They are in the words and the notation of ``locale``: incidents concern the platform, so it is the platform's.
    What is due together is one message, of at most fifty incidents, and of as many messages as it takes. That they are
    put in and that they are due no more is one transaction, so whoever dies between the two loses and repeats nothing.
    Autocommit connection.
    """
    count = 0
    while incidents := _enqueue_some(connection, addresses, locale):
        count += incidents
    return count


def _enqueue_some(connection: Connection, addresses: Sequence[Address], locale: str) -> int:
    with connection.transaction():
        rows = connection.execute(load_query("incident_claim"), {"most": MAX_PER_MESSAGE}).fetchall()
        due = sorted((Incident(*row) for row in rows), key=lambda incident: (incident.first_at, incident.key))
        if due:
            together = _message(due, locale)
            enqueue_incidents(connection, addresses, together, [_message([incident], locale) for incident in due])
    return len(due)


def _message(incidents: Sequence[Incident], locale: str) -> Message:
    identity = "\n".join(incident.version for incident in incidents)
    return Message(
        kind="failure",
        key=f"failure:{hashlib.sha256(identity.encode('utf-8', 'backslashreplace')).hexdigest()[:32]}",
        content=compose(incidents, locale),
        # Nobody gets a recovery before the failure.
        about=[f"failure:{incident.subject}" for incident in incidents],
    )


def _subject(subject: str) -> str:
    return storable(" ".join(subject.split()))[:_SUBJECT_CHARACTERS]
