"""How far the data is behind: what should be closed by now and isn't, and whether events come at all."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation, close_command
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.invalidation import StaleRange, stale_ranges
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Granularity, Window, midnight

# How long after its end a bucket with events may stay open: the schedule comes minutes after the end,
# the sensor for gaps repairs a missed one, and a day or a month waits for what it is built on.
ALLOWED_LAG = {
    Granularity.HOUR: timedelta(hours=2),
    Granularity.DAY: timedelta(hours=6),
    Granularity.MONTH: timedelta(days=1),
}
# An ERP with several companies records something every day.
ALLOWED_SILENCE = timedelta(days=2)
# The embedded database mostly holds files or the sample, which ends with the last whole month.
ALLOWED_SILENCE_EMBEDDED = timedelta(days=45)
# A writer's clock may be ahead by so much.
CLOCK_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class DataLag:
    """Where an aggregate stands: ``oldest_waiting`` is the first event of a bucket that should be closed.

    ``now`` is the database's time of it."""

    closed_through: datetime | None
    due_through: datetime
    newest_event: datetime | None
    oldest_waiting: datetime | None
    now: datetime


def lag_of_data(connection: Connection, settings: Settings, aggregate: ContinuousAggregate) -> DataLag:
    """Look for events in what was never closed above the aggregate's newest closed bucket.

    Late events below it are no lag: they make a closed partition stale. Raises ``LookupError`` when the
    aggregate does not exist.
    """
    table = materialized_tables(connection).get(aggregate.name)
    if table is None:
        raise LookupError(aggregate.name)
    now = database_now(connection)
    due = aggregate.granularity.floor(now - ALLOWED_LAG[aggregate.granularity])
    oldest_chunk, newest = fetch_row(connection, load_query("event_span"), {"tolerance": CLOCK_TOLERANCE})
    start = max(filter(None, [table.watermark, oldest_chunk, midnight(settings.start)]))
    waiting = None
    if newest is not None and start < due:
        # The log of what was never stored keeps this cheap: only its ranges are looked at, not the
        # whole span since the newest bucket of an aggregate whose events come rarely.
        open_ranges = stale_ranges(connection, Window(start, due), aggregate.name)
        waiting = _first_event(connection, aggregate, open_ranges)
    return DataLag(table.watermark, due, newest, waiting, now)


def up_to_date(connection: Connection, settings: Settings, aggregate: ContinuousAggregate) -> CheckResult:
    """Judge the lag of an aggregate's data, whatever runs there were."""
    check = "up_to_date"
    try:
        lag = lag_of_data(connection, settings, aggregate)
    except LookupError:
        missing = Violation(f"{aggregate.name} does not exist", "analytics-pipeline db migrate")
        return CheckResult.judge(check, aggregate.name, [missing], good="")
    granularity = aggregate.granularity
    allowed = ALLOWED_LAG[granularity]
    metadata = {
        "closed through": lag.closed_through,
        "should be closed through": lag.due_through,
        "newest event of any kind": lag.newest_event,
        "oldest event waiting": lag.oldest_waiting,
        "hours since its bucket ended": 0.0,
    }
    limits = {"hours allowed": _hours(allowed)}
    if lag.oldest_waiting is None:
        good = (
            f"Closed through {lag.closed_through:%Y-%m-%d %H:%M} UTC: no event before {lag.due_through:%Y-%m-%d %H:%M} "
            "UTC waits."
            if lag.closed_through
            else "There are no events to close yet."
        )
        return CheckResult.judge(check, aggregate.name, [], good=good, metadata=metadata, limits=limits)
    bucket = granularity.floor(lag.oldest_waiting)
    late = lag.now - granularity.next(bucket)
    metadata["hours since its bucket ended"] = _hours(late)
    problem = Violation(
        f"events since {lag.oldest_waiting:%Y-%m-%d %H:%M} UTC wait to be closed: their {granularity} ended "
        f"{_hours(late):g} hours ago, allowed are {_hours(allowed):g}; see that the Dagster daemon and the schedule "
        f"of the {granularity} run",
        close_command(Window(bucket, lag.due_through)),
    )
    return CheckResult.judge(check, aggregate.name, [problem], good="", metadata=metadata, limits=limits)


def events_arrive(connection: Connection, settings: Settings) -> CheckResult:  # noqa: ARG001  # a check's form
    """Judge how long ago the newest event happened."""
    newest, embedded = fetch_row(connection, load_query("newest_event"), {"tolerance": CLOCK_TOLERANCE})
    allowed = ALLOWED_SILENCE_EMBEDDED if embedded else ALLOWED_SILENCE
    metadata = {"newest event": newest, "hours of silence": None}
    limits = {"hours allowed": _hours(allowed)}
    if newest is None:
        good = "There are no events yet."
        return CheckResult.judge("events_arrive", EVENTS, [], good=good, metadata=metadata, limits=limits)
    silence = max(database_now(connection) - newest, timedelta(0))
    metadata["hours of silence"] = _hours(silence)
    problems = []
    if silence > allowed:
        problems.append(
            Violation(
                f"no event has happened since {newest:%Y-%m-%d %H:%M} UTC, {_hours(silence):g} hours ago (allowed are "
                f"{_hours(allowed):g}): see whether the ERP still writes, and look for refused records",
                "SELECT source, reason, count(*) FROM analytics_ingest_rejects WHERE rejected_at > now() - interval "
                "'7 days' GROUP BY 1, 2;",
                Severity.WARNING,
            )
        )
    return CheckResult.judge(
        "events_arrive",
        EVENTS,
        problems,
        good=f"The newest event is of {newest:%Y-%m-%d %H:%M} UTC.",
        metadata=metadata,
        limits=limits,
    )


def _first_event(
    connection: Connection, aggregate: ContinuousAggregate, ranges: Iterable[StaleRange]
) -> datetime | None:
    query = sql.SQL('SELECT min("timestamp") FROM {} WHERE "timestamp" >= %s AND "timestamp" <= %s AND ({})').format(
        sql.Identifier(EVENTS), sql.SQL(aggregate.condition)
    )
    for part in sorted(ranges, key=lambda r: (r.first, r.last)):
        first: datetime | None = fetch_row(connection, query, [part.first, part.last])[0]
        if first is not None:
            return first
    return None


def _hours(span: timedelta) -> float:
    return round(span / timedelta(hours=1), 1)
