"""The proof of what is closed: stored rows against raw events, company by company."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from analytics_pipeline.currencies import compared_money
from analytics_pipeline.health.check_result import CheckResult, Violation, close_command
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import COLUMNS, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, one_state
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.reconcile import Difference, Reconciliation, prove, reconcile
from analytics_pipeline.timescale.refresh import UNBATCHED, MaterializedTable, materialized_tables, retention_horizon
from analytics_pipeline.windows import Window

# What is proved when nobody names a window: the newest part of what is closed.
LOOK_BACK = timedelta(days=35)
_MAX_SHOWN = 3

CHECK = "reconciles_with_events"
_LIMITS = {"differences allowed": 0}
CHANGED_MEANWHILE = "their events have changed since they were closed, and late_events closes them again"


def reconciles_with_events(
    connection: Connection,
    settings: Settings,  # noqa: ARG001  # a check's form
    aggregate: ContinuousAggregate,
    window: Window | None = None,
) -> CheckResult:
    """Judge a window that was just closed, or the last 35 days of what is closed; autocommit connection.

    Buckets whose events have changed since are no failure: TimescaleDB's log has them closed again. Of a window they
    are closed again at once where that is possible.
    """
    table = materialized_tables(connection).get(aggregate.name)
    if table is None:
        return _judge_nothing(aggregate, Violation(f"{aggregate.name} does not exist", "analytics-pipeline db migrate"))
    if window is not None:
        return _judge(aggregate, prove(connection, aggregate, window))
    newest = _newest_part(connection, aggregate, table)
    if newest is None:
        return _judge_nothing(aggregate)
    with one_state(connection):
        stale = stale_ranges(connection, newest, aggregate.name)
        return _judge(aggregate, reconcile(connection, aggregate, newest, stale))


def _judge_nothing(aggregate: ContinuousAggregate, *problems: Violation) -> CheckResult:
    return CheckResult.judge(
        CHECK,
        aggregate.name,
        problems,
        good="Nothing is closed yet, or all of it waits to be closed again: nothing can differ.",
        metadata={"differences": 0},
        limits=_LIMITS,
    )


def _judge(aggregate: ContinuousAggregate, result: Reconciliation) -> CheckResult:
    problems = []
    if not result.agrees:
        buckets = [_bucket(d) for d in result.differences]
        span = Window(min(buckets), aggregate.granularity.next(max(buckets)))
        text = (
            f"{result.difference_count} rows of {result.window} differ from the raw events; "
            f"{'; '.join(_tell(aggregate, result.differences))}"
        )
        again = close_command(span)
        # A stored row that was changed by hand is no invalidation: only force computes it anew, and only in one
        # pass where no event is left.
        force = (
            f"CALL refresh_continuous_aggregate('{aggregate.name}', '{span.start:%Y-%m-%d %H:%M}+00', "
            f"'{span.end:%Y-%m-%d %H:%M}+00', force => true, options => '{UNBATCHED}'); "
            "-- if closing alone changes nothing, sources first"
        )
        problems.append(Violation(text, again, fallback=force))
    return CheckResult.judge(
        CHECK,
        aggregate.name,
        problems,
        good=_good(aggregate, result),
        metadata={
            "window": str(result.window),
            "rows stored": result.stored_rows,
            "rows expected": result.expected_rows,
            "differences": result.difference_count,
            f"{aggregate.granularity}s changed meanwhile": len(result.changed),
            "differing rows": [
                {"side": d.side, **{name: _shown(d.row, name) for name in d.row}} for d in result.differences
            ],
        },
        limits=_LIMITS,
        failed_windows=_failed_windows(aggregate, result),
    )


def _failed_windows(aggregate: ContinuousAggregate, result: Reconciliation) -> list[Window]:
    """Return the partitions that differ, none if there are more differences than are listed."""
    if result.difference_count > len(result.differences):
        return []
    starts = sorted({_bucket(difference) for difference in result.differences})
    return [Window(start, aggregate.granularity.next(start)) for start in starts]


def _good(aggregate: ContinuousAggregate, result: Reconciliation) -> str:
    if not result.changed:
        return f"All {result.stored_rows} stored rows of {result.window} equal the raw events."
    return (
        f"The stored rows of {result.window} equal the raw events, but for {len(result.changed)} "
        f"{aggregate.granularity}s from {result.changed[0]:%Y-%m-%dT%H:%MZ} on: {CHANGED_MEANWHILE}."
    )


def _newest_part(connection: Connection, aggregate: ContinuousAggregate, table: MaterializedTable) -> Window | None:
    """Return the newest 35 days of what is stored, without what has expired; None if nothing is."""
    if table.watermark is None:
        return None
    start = aggregate.granularity.floor(table.watermark - LOOK_BACK)
    horizon = retention_horizon(connection)
    if horizon is not None:
        start = max(start, aggregate.granularity.ceil(horizon))
    return Window(start, table.watermark) if start < table.watermark else None


def _tell(aggregate: ContinuousAggregate, differences: tuple[Difference, ...]) -> Iterable[str]:
    """Say of the first differing rows which company and bucket they are of, and both values."""

    def key(difference: Difference) -> tuple[str, ...]:
        return tuple(str(difference.row[name]) for name in ("bucket", *aggregate.dimensions))

    for shown, (_, group) in enumerate(groupby(sorted(differences, key=key), key)):
        if shown == _MAX_SHOWN:
            yield "and more"
            return
        yield _tell_row(aggregate, list(group))


def _tell_row(aggregate: ContinuousAggregate, rows: list[Difference]) -> str:
    row = rows[0].row
    others = "".join(f", {name} {row[name]}" for name in aggregate.dimensions if name != "company_id")
    where = f"company {row['company_id']}, {aggregate.granularity} {_bucket(rows[0]):%Y-%m-%dT%H:%MZ}{others}"
    stored = [d.row for d in rows if d.side == "stored"]
    expected = [d.row for d in rows if d.side == "expected"]
    if len(stored) > 1:
        return f"{where}: stored {len(stored)} times"
    values = [
        f"{name} is {_value(stored, name)} stored and {_value(expected, name)} in the events"
        for name in aggregate.measures
        if name in row and (not stored or not expected or stored[0][name] != expected[0][name])
    ]
    return f"{where}: {', '.join(values)}"


def _value(rows: list[dict[str, Any]], name: str) -> str:
    return "missing" if not rows else "null" if rows[0][name] is None else _shown(rows[0], name)


def _shown(row: dict[str, Any], name: str) -> str:
    value, currency = row[name], row.get("currency")
    if currency is None or value is None or not COLUMNS[name].is_amount:
        return str(value)
    return compared_money(Decimal(value), currency)


def _bucket(difference: Difference) -> datetime:
    return datetime.fromisoformat(str(difference.row["bucket"]))
