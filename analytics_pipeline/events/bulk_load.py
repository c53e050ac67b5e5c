"""The one way events enter the hypertable: in bulk, each once, however often they are sent.

Batches of new events go straight in. Those that hold known ones, which the unique key says, go by way of a staging
table, where they are compared with what is stored.

Two events are the same if event id and timestamp are: the key of the table, which has to hold the time
column. The first one stays, unless replacing is asked for: then the last one counts. The same id at another instant
is another event.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

import psycopg

from analytics_pipeline.events.contradictions import (
    Differing,
    OnConflict,
    Origin,
    Refusal,
    find_differing,
    keep_conflicts,
    keep_replacement,
    keep_superseded,
    refuse,
    replace_stored,
)
from analytics_pipeline.events.copy_rows import EVENT_TYPES, HEADER, TRAILER, CopyRows
from analytics_pipeline.events.exact_json import encode_json
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import expired_events

# A batch is parsed while the one before it is stored: two of them are what an ingestion holds in memory.
BATCH_EVENTS = 20_000

# Below this, one statement is faster than the round trips of COPY.
_COPY_FROM_EVENTS = 500

# The embedded server holds a statement's parameter several times over.
_RECORDSET_EVENTS = 10_000

# As of the events themselves, but for the position in front and the metadata as text.
_STAGING_TYPES = ("int4", *EVENT_TYPES[:-1], "text")

# Two that replace the same event take turns: each keeps the value that it has really replaced.
_REPLACE_LOCK = 7_261_940_003

# What says that the hypertable holds one of the events, or may: somebody else is storing them, or they lie in
# compressed chunks with more than it would look through.
_KNOWN = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ConfigurationLimitExceeded,
)

# What a value can raise that passes our rules and not the server's.
_REFUSALS = (psycopg.DataError, psycopg.errors.CheckViolation, psycopg.errors.ProgramLimitExceeded)

_by_timestamp = attrgetter("timestamp")
_event_of = attrgetter("event_id", "timestamp", "company_id")

# How many were new, and the events among which all others are, in order.
_Insert = Callable[[psycopg.Cursor[Any], Sequence[AnalyticsEvent]], tuple[int, Sequence[AnalyticsEvent]]]


@dataclass(slots=True)
class Loaded:
    """What became of events: how many were new or took the place of a stored one, and which were refused.

    The others were stored before, as they are, or a later record of their event counts.
    """

    new: int = 0
    replaced: int = 0
    refused: list[Refusal] = field(default_factory=list)

    @property
    def conflicts(self) -> int:
        """How many of the refused contradict a stored event of their company."""
        return sum(refusal.stored is not None for refusal in self.refused)

    def add(self, other: "Loaded") -> None:
        """Count another part of the events in."""
        self.new += other.new
        self.replaced += other.replaced
        self.refused += other.refused


class EventLoader:
    """Stores events over one connection, and learns there whether the server takes COPY.

    Batches commit; on a connection inside a transaction they are its savepoints, and the caller commits.
    """

    def __init__(self, connection: Connection, on_conflict: OnConflict = OnConflict.REJECT) -> None:
        """Use the connection, which stays the caller's to close."""
        self._connection = connection
        self._on_conflict = on_conflict
        self._takes_copy = True
        # Whether events are likely to be new, as those before them were.
        self._expects_new = True

    def load(self, events: Sequence[AnalyticsEvent], origin: Origin | None = None) -> Loaded:
        """Store checked events and return what became of them.

        Contradictions are kept in ``analytics_event_conflicts`` under their ``origin``, in the transaction of the
        batch; without an origin the caller keeps them.

        Events of ranges that are materialised already go in one transaction per UTC day: TimescaleDB logs one
        span from first to last changed row per transaction, so a late batch stored at once would make stale
        every partition between its ends. Newer events leave no such log and go in one transaction.
        """
        if self._on_conflict is OnConflict.REPLACE:
            # The first one in order is stored.
            events = events[::-1]
        events = sorted(events, key=_by_timestamp)
        late = self._count_late(events)
        parts = [list(day) for _, day in groupby(islice(events, late), key=lambda event: event.timestamp.date())]
        if late < len(events):
            parts.append(events[late:])
        loaded = Loaded()
        for part in parts:
            loaded.add(self._store(part, origin))
        return loaded

    @property
    def takes_rows(self) -> bool:
        """Whether ``copy_new`` is worth trying: the server takes COPY, and events are likely to be new."""
        return self._takes_copy and self._expects_new

    def copy_new(self, rows: bytes, first: datetime) -> bool:
        """Store the rows of events that are all new and not late; return whether they were: if not, nothing is stored.

        ``first`` is the earliest of their instants. ``load`` takes whatever is turned down here.
        """
        if not self.takes_rows or self._is_late(first):
            return False
        try:
            return self._copy_new(rows)
        except psycopg.errors.FeatureNotSupported:
            self._takes_copy = False
        except _REFUSALS:
            # One of them is what the database can't hold: which, load() finds out.
            pass
        return False

    def _copy_new(self, rows: bytes) -> bool:
        """Put the rows straight into the hypertable; return whether none of their events was known."""
        try:
            with (
                self._connection.transaction(),
                self._connection.cursor() as cursor,
                cursor.copy(load_query("ingest_copy_events")) as copy,
            ):
                for part in (HEADER, rows, TRAILER):
                    copy.write(part)
        except _KNOWN:
            self._expects_new = False
            return False
        return True

    def _is_late(self, instant: datetime) -> bool:
        before = self._closed_before()
        return before is not None and instant < before

    def _count_late(self, events: Sequence[AnalyticsEvent]) -> int:
        before = self._closed_before()
        return 0 if before is None else bisect_left(events, before, key=_by_timestamp)

    def _closed_before(self) -> datetime | None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            row = cursor.execute(load_query("ingest_closed_before")).fetchone()
        return row[0] if row else None

    def _store(self, events: Sequence[AnalyticsEvent], origin: Origin | None) -> Loaded:
        try:
            return self._store_all(events, origin)
        except _REFUSALS as error:
            if len(events) == 1:
                reason = f"the database refuses it: {str(error).strip().splitlines()[0]}."
                return Loaded(refused=[Refusal(events[0], None, RejectedEvent("refused by the database", reason))])
        # One of them is what the database can't hold: the others go in.
        middle = len(events) // 2
        loaded = self._store(events[:middle], origin)
        loaded.add(self._store(events[middle:], origin))
        return loaded

    def _store_all(self, events: Sequence[AnalyticsEvent], origin: Origin | None) -> Loaded:
        if len(events) >= _COPY_FROM_EVENTS and self._takes_copy:
            try:
                if self._expects_new and self._copy_new(CopyRows().encode(events)):
                    return Loaded(len(events))
                loaded = self._store_by(_copy, events, origin)
            except psycopg.errors.FeatureNotSupported:
                # Nothing has been sent: the refusal answers the COPY statement itself.
                self._takes_copy = False
            else:
                self._expects_new = loaded.new == len(events)
                return loaded
        return self._store_by(_send, events, origin)

    def _store_by(self, insert: _Insert, events: Sequence[AnalyticsEvent], origin: Origin | None) -> Loaded:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            new, compared = insert(cursor, events)
            loaded = Loaded(new)
            if loaded.new == len(events):
                return loaded
            # The others were there before, as they are or otherwise.
            if self._on_conflict is OnConflict.REPLACE:
                cursor.execute("SELECT pg_advisory_xact_lock(%s::bigint)", [_REPLACE_LOCK])
            if insert is not _copy:
                _stage(cursor, compared)
            differing = list(find_differing(cursor, compared))
            if self._on_conflict is OnConflict.REPLACE and differing:
                self._replace(cursor, loaded, differing, events, origin)
            else:
                loaded.refused += map(refuse, differing)
            if origin is not None:
                keep_conflicts(cursor, loaded.refused, origin)
            return loaded

    def _replace(
        self,
        cursor: psycopg.Cursor[Any],
        loaded: Loaded,
        differing: Sequence[Differing],
        events: Sequence[AnalyticsEvent],
        origin: Origin | None,
    ) -> None:
        """Put the record that counts in the event's place; it comes before the earlier ones that it supersedes."""
        gone = expired_events(self._connection)
        counting = {_event_of(event): event for event in reversed(events)}
        expired = set()
        superseded = []
        for change in differing:
            event, stored, _ = change
            key = _event_of(event)
            if stored is None:
                loaded.refused.append(refuse(change))
            elif event is not counting[key] and key not in expired:
                superseded.append((counting[key], event))
            elif stretch := next((stretch for stretch in gone if stretch.holds(event.timestamp)), None):
                expired.add(key)
                loaded.refused.append(refuse(change, stretch.end))
            else:
                replace_stored(cursor, change)
                loaded.replaced += 1
                if origin is not None:
                    keep_replacement(cursor, event, stored, origin)
        if origin is not None:
            keep_superseded(cursor, superseded, origin)


def _copy(cursor: psycopg.Cursor[Any], events: Sequence[AnalyticsEvent]) -> tuple[int, Sequence[AnalyticsEvent]]:
    """Stage the events with COPY, insert them from there, and return how many were new, and all of them."""
    cursor.execute(load_query("ingest_staging"))
    with cursor.copy(load_query("ingest_copy")) as copy:
        copy.set_types(_STAGING_TYPES)
        for position, event in enumerate(events):
            copy.write_row((position, *event[:8], encode_json(event.metadata).decode()))
    return cursor.execute(load_query("ingest_insert_staging")).rowcount, events


def _send(cursor: psycopg.Cursor[Any], events: Sequence[AnalyticsEvent]) -> tuple[int, Sequence[AnalyticsEvent]]:
    """Insert the events as statements' parameters; return how many were new, and those that were not."""
    known = _repeated(events)
    for rows in _json_rows(events):
        known.update(position for (position,) in cursor.execute(load_query("ingest_insert_recordset"), [rows]))
    return len(events) - len(known), [events[position] for position in sorted(known)]


def _repeated(events: Sequence[AnalyticsEvent]) -> set[int]:
    """Return the positions of the events whose key an earlier one has."""
    seen = set()
    repeated = set()
    for position, event in enumerate(events):
        key = (event.event_id, event.timestamp)
        if key in seen:
            repeated.add(position)
        seen.add(key)
    return repeated


def _stage(cursor: psycopg.Cursor[Any], events: Sequence[AnalyticsEvent]) -> None:
    cursor.execute(load_query("ingest_staging"))
    for rows in _json_rows(events):
        cursor.execute(load_query("ingest_stage_recordset"), [rows])


def _json_rows(events: Sequence[AnalyticsEvent]) -> Iterator[str]:
    """Yield the events as JSON arrays of objects, each of as many as a statement takes, with their positions."""
    for start in range(0, len(events), _RECORDSET_EVENTS):
        part = events[start : start + _RECORDSET_EVENTS]
        yield encode_json([{"position": start + n, **event._asdict()} for n, event in enumerate(part)]).decode()
