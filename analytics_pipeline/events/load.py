"""The one way events enter the hypertable: in bulk, each once, however often they are sent.

Belongs here: transactions, COPY and its stand-in. Does not belong here: the rules of an event; what comes
here has passed ``check_event``.

Two events are the same if event id and timestamp are: the key of the table, which has to hold the time
column. The first one stays; the same id at another instant is another event.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import attrgetter

import psycopg

from analytics_pipeline.events.json_text import to_json
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection

# A batch is parsed while the one before it is stored: two of them are what an ingestion holds in memory.
BATCH_EVENTS = 20_000

# Below this, one statement is faster than the round trips of COPY.
_COPY_FROM_EVENTS = 500

# The embedded server holds a statement's parameter several times over.
_RECORDSET_EVENTS = 10_000

# Binary COPY converts nothing on the way: the types of the staging table's columns, in order.
_STAGING_TYPES = ("uuid", "timestamptz", "text", "text", "text", "text", "numeric", "text", "text")

_by_timestamp = attrgetter("timestamp")


class EventLoader:
    """Stores events over one connection, and learns there whether the server takes COPY.

    Batches commit; on a connection inside a transaction they are its savepoints, and the caller commits.
    """

    def __init__(self, connection: Connection) -> None:
        """Use the connection, which stays the caller's to close."""
        self._connection = connection
        self._takes_copy = True

    def load(self, events: Sequence[AnalyticsEvent]) -> int:
        """Store checked events and return how many were new.

        Events of ranges that are materialised already go in one transaction per UTC day: TimescaleDB logs one
        span from first to last changed row per transaction, so a late batch stored at once would make stale
        every partition between its ends. Newer events leave no such log and go in one transaction.
        """
        events = sorted(events, key=_by_timestamp)
        late = self._count_late(events)
        new = 0
        for _, day in groupby(islice(events, late), key=lambda event: event.timestamp.date()):
            new += self._store(list(day))
        if late < len(events):
            new += self._store(events[late:])
        return new

    def _count_late(self, events: Sequence[AnalyticsEvent]) -> int:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            row = cursor.execute(load_sql("queries/ingest_closed_before.sql")).fetchone()
        return bisect_left(events, row[0], key=_by_timestamp) if row else 0

    def _store(self, events: Sequence[AnalyticsEvent]) -> int:
        if len(events) >= _COPY_FROM_EVENTS and self._takes_copy:
            try:
                return self._copy(events)
            except psycopg.errors.FeatureNotSupported:
                # Nothing has been sent: the refusal answers the COPY statement itself.
                self._takes_copy = False
        with self._connection.transaction(), self._connection.cursor() as cursor:
            return sum(
                cursor.execute(load_sql("queries/ingest_insert_recordset.sql"), [_json_rows(part)]).rowcount
                for part in _parts(events, _RECORDSET_EVENTS)
            )

    def _copy(self, events: Sequence[AnalyticsEvent]) -> int:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.execute(load_sql("queries/ingest_staging.sql"))
            with cursor.copy(load_sql("queries/ingest_copy.sql")) as copy:
                copy.set_types(_STAGING_TYPES)
                for event in events:
                    copy.write_row((*event[:8], to_json(event.metadata)))
            return cursor.execute(load_sql("queries/ingest_insert_staging.sql")).rowcount


def _parts(events: Sequence[AnalyticsEvent], size: int) -> Iterator[Sequence[AnalyticsEvent]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


def _json_rows(events: Sequence[AnalyticsEvent]) -> str:
    """Return the events as one JSON array of objects."""
    return f"[{','.join([to_json(_json_row(event)) for event in events])}]"


def _json_row(event: AnalyticsEvent) -> dict[str, object]:
    return {**event._asdict(), "event_id": str(event.event_id), "timestamp": event.timestamp.isoformat()}
