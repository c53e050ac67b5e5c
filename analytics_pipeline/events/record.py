"""Recording events from Python: one, or any number of them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from analytics_pipeline.database import connect
from analytics_pipeline.events.announcements import announce_change
from analytics_pipeline.events.bulk_load import BATCH_EVENTS, EventLoader, Loaded
from analytics_pipeline.events.contradictions import OnConflict, Origin
from analytics_pipeline.events.erased import load_erased
from analytics_pipeline.events.model import AnalyticsEvent, check_event, parse_event
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.timescale.clock import DatabaseClock
from analytics_pipeline.timescale.connection import Connection

# The source of events that an application records.
RECORDED = "record_events"


def new_event(
    company_id: str,
    user_id: str | None,
    event_type: str,
    category: str,
    value: Decimal | int | str | float | None = None,
    currency: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    event_id: UUID | str | None = None,
    timestamp: datetime | str | None = None,
) -> AnalyticsEvent:
    """Return a checked event; without ``event_id`` a new one, without ``timestamp`` of this moment.

    Whether it lies in the future is checked when it is recorded, by the database's clock. Raises ``RejectedEvent``
    naming field, value and remedy.
    """
    return parse_event(
        {
            "event_id": uuid4() if event_id is None else event_id,
            "timestamp": datetime.now(UTC) if timestamp is None else timestamp,
            "company_id": company_id,
            "user_id": user_id,
            "event_type": event_type,
            "category": category,
            "value": value,
            "currency": currency,
            "metadata": None if metadata is None else dict(metadata),
        }
    )


def record_event(
    company_id: str,
    user_id: str | None,
    event_type: str,
    category: str,
    value: Decimal | int | str | float | None = None,
    currency: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    event_id: UUID | str | None = None,
    timestamp: datetime | str | None = None,
    connection: Connection | None = None,
    on_conflict: OnConflict = OnConflict.REJECT,
) -> UUID:
    """Store one event and return its id; with your own ``event_id`` and ``timestamp`` retries are harmless.

    Without ``connection`` one to the configured database is opened for the call. Raises ``RejectedEvent``
    naming field, value and remedy, and ``ClockError`` when this machine's clock is too far from the database's;
    nothing is stored then. That includes another event under the same id and timestamp: the contradiction is kept in
    ``analytics_event_conflicts``, unless ``on_conflict`` is ``REPLACE``.
    """
    event = new_event(
        company_id,
        user_id,
        event_type,
        category,
        value,
        currency,
        metadata,
        event_id=event_id,
        timestamp=timestamp,
    )
    record_events([event], connection=connection, on_conflict=on_conflict)
    return event.event_id


def record_events(
    events: Iterable[AnalyticsEvent],
    *,
    connection: Connection | None = None,
    on_conflict: OnConflict = OnConflict.REJECT,
) -> int:
    """Store events and return how many were new: those stored before are skipped.

    Every batch is checked and then committed (on a connection inside a transaction: the caller commits), so
    memory does not grow with the iterable. Raises ``RejectedEvent`` at the first event that breaks a rule;
    batches before its own are stored by then. Also raises it, in the end, when an event contradicts a stored one of
    its id and timestamp: all the others are stored by then, and the contradictions are kept in
    ``analytics_event_conflicts``. ``REPLACE`` has them take the place of what is stored, and keeps both. Raises
    ``ClockError`` before anything is stored when this machine's clock is too far from the database's.
    """
    loaded = store_events(events, connection=connection, on_conflict=on_conflict)
    if loaded.refused:
        first = loaded.refused[0].rejection
        others = f" {len(loaded.refused) - 1} more events were refused." if len(loaded.refused) > 1 else ""
        raise RejectedEvent(first.kind, f"{first.reason}{others}")
    return loaded.new


def store_events(
    events: Iterable[AnalyticsEvent],
    *,
    connection: Connection | None = None,
    on_conflict: OnConflict = OnConflict.REJECT,
    source: str = RECORDED,
) -> Loaded:
    """Do what ``record_events`` does, and return what became of the events instead of raising for refused ones.

    ``source`` is where contradictions are said to have come from.
    """
    with _connected(connection) as connected:
        clock = DatabaseClock(connected)
        loader = EventLoader(connected, on_conflict)
        erased = load_erased(connected)
        remaining = iter(events)
        loaded = Loaded()
        while batch := list(islice(remaining, BATCH_EVENTS)):
            for event in batch:
                check_event(event, now=clock.now())
            stored = loader.load([erased.conceal(event) for event in batch], Origin(source))
            if stored.new or stored.replaced:
                announce_change(connected)
            loaded.add(stored)
        return loaded


@contextmanager
def _connected(connection: Connection | None) -> Iterator[Connection]:
    if connection is not None:
        yield connection
        return
    with connect() as own:
        yield own
