"""Records that contradict a stored event: the same id and instant, and something else in another column.

Only events of one company are compared. An id that another company holds at that instant is refused in words that
give away nothing about its event.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

from psycopg import Cursor

from analytics_pipeline.events.exact_json import parse_json, to_json
from analytics_pipeline.events.model import FIRST_INSTANT, AnalyticsEvent
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.intake.rejects import storable
from analytics_pipeline.sql_files import load_query

CONTRADICTED = "contradicts a stored event"
# The source of a record that contradicts an event of the archive.
ARCHIVE = "archive"

_STRETCH = timedelta(days=28)

# Beyond this the list of companies costs more than the segments it leaves out.
_MAX_COMPANIES = 100


class OnConflict(StrEnum):
    """What becomes of a stored event that a record contradicts."""

    REJECT = "reject"
    REPLACE = "replace"


@dataclass(frozen=True)
class Origin:
    """Where events came from: a file with the line of each of them, or a command, which has no lines."""

    source: str
    events: Sequence[AnalyticsEvent] = ()
    lines: Sequence[int] = ()

    def line_of(self, event: AnalyticsEvent) -> int:
        """Return the line of this very event object, not of one that equals it; 0 where there are no lines."""
        return self._lines.get(id(event), 0)

    @cached_property
    def _lines(self) -> dict[int, int]:
        return {id(event): line for event, line in zip(self.events, self.lines, strict=False)}


class Differing(NamedTuple):
    """An event that is not what is stored under its id and instant: ``stored``, None if that is another company's.

    ``stored_company`` is its company as it is stored: that may be in another normal form of Unicode.
    """

    event: AnalyticsEvent
    stored: AnalyticsEvent | None
    stored_company: str | None


class Refusal(NamedTuple):
    """An event that was not stored, and why; ``stored`` is the event of its company that it contradicts, if any."""

    event: AnalyticsEvent
    stored: AnalyticsEvent | None
    rejection: RejectedEvent


def find_differing(cursor: Cursor[Any], events: Sequence[AnalyticsEvent]) -> Iterator[Differing]:
    """Yield the events that differ from what is stored, in order; all of them are staged, sorted by time.

    Stretch by stretch, each of a few chunks: so a batch that spans years doesn't read years to compare a few rows,
    and the server knows which chunks it needs before it begins.
    """
    for _, group in groupby(events, key=lambda event: (event.timestamp - FIRST_INSTANT) // _STRETCH):
        stretch = list(group)
        companies = {form for event in stretch for form in _forms(event.company_id)}
        values = {
            "first": stretch[0].timestamp,
            "last": stretch[-1].timestamp,
            "companies": sorted(companies) if len(companies) <= _MAX_COMPANIES else None,
        }
        for position, stored_company, *columns in cursor.execute(load_query("ingest_differing"), values).fetchall():
            event = events[position]
            yield Differing(event, None if stored_company is None else _stored(event, columns), stored_company)


def _forms(company_id: str) -> tuple[str, ...]:
    """Return the ways in which the id may be stored: before there was a normal form, as it came."""
    return (company_id,) if company_id.isascii() else (company_id, unicodedata.normalize("NFD", company_id))


def refuse(differing: Differing, horizon: datetime | None = None) -> Refusal:
    """Return why the event isn't stored; a ``horizon`` is what kept it from replacing the stored one.

    Before the horizon raw events have expired: what was computed from them can't be computed again.
    """
    event, stored, _ = differing
    name = f"event_id {event.event_id}"
    if stored is None:
        reason = f"{name} can't be used at {instant_text(event.timestamp)}: choose another one."
        return Refusal(event, None, RejectedEvent("event_id can't be used", reason))
    # JSON tells apart what Python does not: true is not 1.
    difference = describe_differences(stored, event, "this record") or "with other metadata"
    reason = (
        f"{name} is stored {difference}: what is stored stays. If this record is right, ingest it with --on-conflict "
        "replace."
        if horizon is None
        else f"{name} is stored {difference}, and can't be replaced: raw events before {horizon:%Y-%m-%d} have "
        "expired, and the aggregates there can't be computed again. Book the difference as a new event."
    )
    return Refusal(event, stored, RejectedEvent(CONTRADICTED, reason))


def replace_stored(cursor: Cursor[Any], differing: Differing) -> None:
    """Put the event in the place of the one of its company that is stored under its id and instant.

    TimescaleDB notes the change like every other, so that what was closed over it is closed again.
    """
    # A batch may touch many compressed segments; what of them counts towards the limit depends on the version.
    cursor.execute("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
    event = differing.event
    values = {**event._asdict(), "company_id": differing.stored_company, "metadata": to_json(event.metadata)}
    cursor.execute(load_query("ingest_replace"), values)


def keep_conflicts(cursor: Cursor[Any], refused: Iterable[Refusal], origin: Origin) -> None:
    """Keep what was sent beside what is stored, for somebody to decide; of other companies' events nothing is kept."""
    conflicts = [(refusal.event, refusal.stored) for refusal in refused if refusal.stored is not None]
    _write_conflicts(cursor, conflicts, origin, "open")


def keep_superseded(
    cursor: Cursor[Any], superseded: Sequence[tuple[AnalyticsEvent, AnalyticsEvent]], origin: Origin
) -> None:
    """Keep records beside the later one of their event, which counts: pairs of the later and the earlier one.

    One that says the same as the later one is not kept, and one that is known is left as it is. None of them is an
    open conflict any more.
    """
    _write_conflicts(cursor, superseded, origin, "replaced", is_change=False)
    for _, earlier in superseded:
        _settle(cursor, earlier)


def keep_replacement(cursor: Cursor[Any], event: AnalyticsEvent, stored: AnalyticsEvent, origin: Origin) -> None:
    """Keep what was stored beside what took its place; the same record is no open conflict any more."""
    _write_conflicts(cursor, [(event, stored)], origin, "replaced")
    _settle(cursor, event)


def describe_differences(stored: AnalyticsEvent, event: AnalyticsEvent, sender: str) -> str:
    """Return in words how an event differs from the stored one of its instant; ``sender`` is who says so now."""
    found = [
        f"with {name} {shown(_plain(before))}, and {sender} says {shown(_plain(after))}"
        for name, before, after in zip(AnalyticsEvent._fields, stored, event, strict=True)
        if name != "timestamp" and before != after
    ]
    return "; ".join(found)


def normalized(event: AnalyticsEvent) -> AnalyticsEvent:
    """Return the event with the ids of company and user in the normal form in which they are stored today."""
    user_id = None if event.user_id is None else unicodedata.normalize("NFC", event.user_id)
    return event._replace(company_id=unicodedata.normalize("NFC", event.company_id), user_id=user_id)


def event_json(event: AnalyticsEvent) -> str:
    """Return the event as a JSON object, as ingestion reads one."""
    return to_json(event_fields(event))


def event_fields(event: AnalyticsEvent) -> dict[str, object]:
    """Return the fields of the event as values of JSON."""
    return {**event._asdict(), "event_id": str(event.event_id), "timestamp": event.timestamp.isoformat()}


def instant_text(instant: datetime) -> str:
    """Return an instant in UTC as ISO 8601 with a Z."""
    return instant.isoformat().replace("+00:00", "Z")


def _stored(event: AnalyticsEvent, columns: Sequence[Any]) -> AnalyticsEvent:
    *fields, metadata = columns
    return AnalyticsEvent._make([*event[:3], *fields, parse_json(metadata)])


def _settle(cursor: Cursor[Any], sent: AnalyticsEvent) -> None:
    values = {"event_id": sent.event_id, "timestamp": sent.timestamp, "sent": event_json(sent)}
    cursor.execute(load_query("ingest_conflicts_settled"), values)


def _write_conflicts(
    cursor: Cursor[Any],
    conflicts: Sequence[tuple[AnalyticsEvent, AnalyticsEvent]],
    origin: Origin,
    outcome: str,
    *,
    is_change: bool = True,
) -> None:
    if not conflicts:
        return
    rows: list[object] = [
        {
            "event_id": str(event.event_id),
            "timestamp": event.timestamp.isoformat(),
            "company_id": event.company_id,
            "stored": event_fields(stored),
            "sent": event_fields(event),
            "line_number": origin.line_of(event) or None,
        }
        for event, stored in conflicts
    ]
    values = {
        "source": storable(origin.source),
        "outcome": outcome,
        "conflicts": to_json(rows),
        "is_change": is_change,
    }
    cursor.execute(load_query("ingest_conflicts"), values)


def _plain(value: object) -> object:
    return str(value) if value is not None and not isinstance(value, dict) else value
