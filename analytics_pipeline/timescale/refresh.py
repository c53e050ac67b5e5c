"""Closes windows of continuous aggregates: exactly, one refresher at a time, never into expired events."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

from analytics_pipeline.errors import AnalyticsError, RefusedError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.catalog import require_known_catalog
from analytics_pipeline.timescale.clock import check_clock, database_now, require_ended
from analytics_pipeline.timescale.connection import Connection, advisory_lock, aggregate_at_once, fetch_row
from analytics_pipeline.timescale.expiry import restored_windows, within
from analytics_pipeline.timescale.invalidation import StaleRange, stale_ranges
from analytics_pipeline.timescale.refreshed_companies import begin_refresh
from analytics_pipeline.windows import Granularity, Window, common_windows, without_windows

_log = logging.getLogger(__name__)

_LOCK_CLASS = 7_261_941
_UP_TO_DATE = "already up-to-date"
_BEGINNING = datetime.min.replace(tzinfo=UTC)

# From TimescaleDB 2.28 on a refresh by hand works in batches of ten buckets and skips those without a chunk of
# data: a stretch without events that is longer than a chunk would stay stale for ever. 0 asks for one pass over the
# whole window. Every version from 2.23 on takes the options; before 2.28 it knows no batches and ignores this one.
UNBATCHED = '{"buckets_per_batch": 0}'


class HorizonError(RefusedError):
    """The window reaches into a range whose raw events have expired or may expire at any moment."""


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What one refresh did and what the window holds now.

    ``buckets`` holds the buckets with rows, in order. ``unchanged`` means TimescaleDB found nothing to
    do. ``invalidated`` lists what was stale in the window, or never stored, before.
    """

    aggregate: str
    window: Window
    buckets: tuple["BucketCount", ...]
    seconds: float
    unchanged: bool
    invalidated: tuple[StaleRange, ...]

    @property
    def rows(self) -> int:
        """The aggregate's rows in the window."""
        return sum(bucket.rows for bucket in self.buckets)

    @property
    def events(self) -> int:
        """The raw events those rows stand for."""
        return sum(bucket.events for bucket in self.buckets)


class BucketCount(NamedTuple):
    """What one bucket of an aggregate holds: its rows, and the raw events they stand for."""

    start: datetime
    rows: int
    events: int


@dataclass(frozen=True, slots=True)
class MaterializedTable:
    """Where an aggregate's stored rows are, and up to which instant (None: nothing stored yet)."""

    schema: str
    table: str
    watermark: datetime | None

    @property
    def identifier(self) -> sql.Identifier:
        """The table's quoted name."""
        return sql.Identifier(self.schema, self.table)


def refresh(connection: Connection, aggregate: ContinuousAggregate, window: Window) -> RefreshResult:
    """Refresh the aligned ``window`` of an aggregate whose sources are already fresh; autocommit connection.

    Buckets that have not ended yet, by the database's clock, are left out. Raises ``AnalyticsError`` for a
    window that is not aligned to the aggregate's buckets or has not ended, and on a TimescaleDB whose internal
    tables this program doesn't know, ``ClockError`` when this machine's clock is too far from the database's,
    ``HorizonError`` for a window that begins before the retention horizon. Repeating a refresh, also a killed
    one, gives the same rows.
    """
    require_known_catalog(connection)
    window = _closed_part(connection, aggregate, window)
    started = time.monotonic()
    with refresh_lock(connection, aggregate):
        require_within_horizon(connection, aggregate.name, aggregate.granularity, window)
        stale = tuple(stale_ranges(connection, window, aggregate.name))
        table = materialized_table(connection, aggregate).identifier
        changes = begin_refresh(connection, aggregate, table, window, stale)
        # A refresh is one transaction: months keep each of them short at a year's range, and
        # measured as fast as one call for the whole range.
        with aggregate_at_once(connection):
            results = [
                call_refresh(connection, aggregate.name, part.start, part.end)
                for part in window.split(Granularity.MONTH)
            ]
        if changes.is_stale or not all(results):
            changes.settle()
    buckets = tuple(count_buckets(connection, aggregate, window))
    return RefreshResult(aggregate.name, window, buckets, time.monotonic() - started, all(results), stale)


@contextmanager
def refresh_lock(connection: Connection, aggregate: ContinuousAggregate) -> Iterator[None]:
    """Let nobody else refresh an aggregate within the block.

    Two refreshes of one aggregate duplicate rows before TimescaleDB 2.26.3 and fail from then on.
    """
    with advisory_lock(connection, _LOCK_CLASS, aggregate.name):
        yield


def call_refresh(
    connection: Connection, relation: str, start: datetime | None, end: datetime, *, force: bool = False
) -> bool:
    """Have TimescaleDB refresh ``[start, end)`` (None: from the beginning); return whether it was up to date already.

    Guards nothing: behind the retention horizon it erases. With ``force`` also what was not stale is computed again.
    """
    notices: list[str] = []

    def collect(diagnostic: psycopg.errors.Diagnostic) -> None:
        notices.append(diagnostic.message_primary or "")

    connection.add_notice_handler(collect)
    try:
        connection.execute(
            "CALL refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz, %s, %s::jsonb)",
            [relation, start, end, force, UNBATCHED],
        )
    finally:
        connection.remove_notice_handler(collect)
    _log.debug("refreshed %s from %s to %s", relation, start, end)
    return any(_UP_TO_DATE in notice for notice in notices)


def retention_horizon(connection: Connection) -> datetime | None:
    """Return the instant before which raw events are gone or may go at any moment (None: no such instant).

    It is the latest of the retention policy's cut, the end of the last stretch without chunks in which
    aggregates remember events, and what was found before: that is kept in the database, because a late
    event may create a dropped chunk anew. A replica, and a transaction that only reads, keeps nothing.
    """
    policy_horizon, remembered, may_write = fetch_row(connection, load_query("retention_horizon"))
    lost = _end_of_lost_events(connection)
    if lost is not None and may_write and (remembered is None or lost > remembered):
        remember_horizon(connection, lost)
    return max((instant for instant in (policy_horizon, remembered, lost) if instant), default=None)


def remember_horizon(connection: Connection, events_from: datetime) -> None:
    """Keep that raw events before an instant are gone; an earlier one than is known changes nothing."""
    connection.execute(load_query("remember_horizon"), {"events_from": events_from})


def behind_horizon(granularity: Granularity, horizon: datetime | None, restored: Sequence[Window] = ()) -> list[Window]:
    """Return the stretches of whole buckets that begin before a horizon, in order: none without one.

    Buckets that lie in a ``restored`` stretch are left out: their events are back.
    """
    if horizon is None or horizon <= _BEGINNING:
        return []
    return without_windows([Window(_BEGINNING, granularity.ceil(horizon))], within(granularity, restored))


def expired_events(connection: Connection) -> list[Window]:
    """Return the stretches whose events are gone or may go at any moment, in order."""
    horizon = retention_horizon(connection)
    if horizon is None or horizon <= _BEGINNING:
        return []
    return without_windows([Window(_BEGINNING, horizon)], restored_windows(connection))


def require_within_horizon(connection: Connection, relation: str, granularity: Granularity, window: Window) -> None:
    """Raise ``HorizonError`` if computing a relation's window anew could erase or falsify expired history."""
    horizon = retention_horizon(connection)
    if horizon is None or window.start >= horizon or not common_windows([window], expired_events(connection)):
        return
    raise HorizonError(
        f"{relation} can't be refreshed for {window}: raw events before {horizon:%Y-%m-%d %H:%M} UTC (the "
        "retention horizon) have expired, and a refresh there would erase the history it still holds. "
        f"Ask for a window that starts at {granularity.ceil(horizon):%Y-%m-%d %H:%M} UTC or later."
    )


def require_closable(
    connection: Connection, relation: str, granularity: Granularity, window: Window, *, needs_events: bool
) -> None:
    """Raise ``RefusedError`` for a window that can't be closed: nothing of it is begun then.

    It is not made of whole partitions of the granularity, has not ended by the database's clock, or begins before the
    retention horizon although its raw events are needed.
    """
    _require_aligned(relation, granularity, window)
    require_ended(connection, relation, window)
    if needs_events:
        require_within_horizon(connection, relation, granularity, window)


def count_buckets(connection: Connection, aggregate: ContinuousAggregate, window: Window) -> list[BucketCount]:
    """Return the buckets of a window that have rows, in order."""
    query = sql.SQL(
        "SELECT bucket, count(*), sum(event_count)::bigint FROM {} "
        "WHERE bucket >= %s AND bucket < %s GROUP BY bucket ORDER BY bucket"
    ).format(sql.Identifier(aggregate.name))
    return [BucketCount(*row) for row in connection.execute(query, [window.start, window.end])]


def materialized_tables(connection: Connection) -> dict[str, MaterializedTable]:
    """Return where each continuous aggregate of the database stores its rows, by the aggregate's name."""
    rows = connection.execute(load_query("materialization_tables")).fetchall()
    return {name: MaterializedTable(schema, table, watermark) for name, schema, table, watermark in rows}


def materialized_table(connection: Connection, aggregate: ContinuousAggregate) -> MaterializedTable:
    """Return where an aggregate stores its rows; raises ``AnalyticsError`` when it does not exist."""
    table = materialized_tables(connection).get(aggregate.name)
    if table is None:
        raise AnalyticsError(
            f"The continuous aggregate {aggregate.name} does not exist: run 'analytics-pipeline db migrate'."
        )
    return table


def _closed_part(connection: Connection, aggregate: ContinuousAggregate, window: Window) -> Window:
    granularity = aggregate.granularity
    _require_aligned(aggregate.name, granularity, window)
    now = check_clock(connection)
    end = min(window.end, granularity.floor(now))
    if end <= window.start:
        raise AnalyticsError(
            f"{aggregate.name} can't be closed for {window}: no {granularity} of it has ended yet; by the database's "
            f"clock it is {now:%Y-%m-%d %H:%M:%S} UTC."
        )
    return Window(window.start, end)


def _require_aligned(relation: str, granularity: Granularity, window: Window) -> None:
    if not window.is_aligned(granularity):
        raise RefusedError(
            f"{relation} is refreshed in whole {granularity}s, and {window} doesn't begin and end on a {granularity}'s "
            f"boundary: use {window.widen(granularity)}."
        )


def _end_of_lost_events(connection: Connection) -> datetime | None:
    """Return the end of the last stretch that has no chunk of raw events, but stored buckets."""
    chunks = connection.execute(load_query("event_chunks")).fetchall()
    ends = [datetime.min.replace(tzinfo=UTC), *(end for _, end in chunks)]
    starts = [*(start for start, _ in chunks), database_now(connection)]
    holes = [(low, high) for low, high in zip(ends, starts, strict=True) if low < high]
    tables = materialized_tables(connection)
    remembered = sql.SQL(" OR ").join(
        # One that reaches into a hole may have its events beside it. In this form it is looked up in an index.
        sql.SQL("EXISTS (SELECT FROM {} WHERE bucket >= low AND bucket <= high - {}::interval)").format(
            tables[a.name].identifier, sql.Literal("1 hour" if a.granularity is Granularity.HOUR else "24 hours")
        )
        for a in AGGREGATES
        if a.name in tables and a.granularity is not Granularity.MONTH
    )
    query = sql.SQL(
        "SELECT max(high) FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS hole (low, high) WHERE {}"
    ).format(remembered)
    lows, highs = [low for low, _ in holes], [high for _, high in holes]
    return fetch_row(connection, query, [lows, highs])[0]  # type: ignore[no-any-return]
