"""Refreshing an aggregate by hand, and what that leaves to be closed again above it."""

from dataclasses import dataclass

from analytics_pipeline.metrics.tables import METRIC_TABLES, stale_periods
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.refresh import RefreshResult, refresh, retention_horizon
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class HandRefresh:
    """What a refresh did, and what is built on the aggregate and stale now, in the months of its window.

    ``span_to_close`` is what of those months can be closed, to settle that.
    """

    result: RefreshResult
    stale_above: tuple[str, ...]
    span_to_close: Window


def refresh_by_hand(
    connection: Connection, aggregate: ContinuousAggregate, window: Window, currency: str
) -> HandRefresh:
    """Refresh the aligned, half-open window of an aggregate as closing does; autocommit connection.

    ``currency`` is the reporting currency. What is built on the aggregate is not computed. Raises as ``refresh`` does:
    for a window that is not of whole buckets, has not ended, or begins behind the retention horizon.
    """
    result = refresh(connection, aggregate, window)
    above, months = built_on(aggregate.name), result.window.widen(Granularity.MONTH)
    horizon = retention_horizon(connection)
    if horizon is not None and horizon > months.start:
        # The refresh was not refused: its window begins later.
        months = Window(min(Granularity.DAY.ceil(horizon), result.window.start), months.end)
    stale = {stale.aggregate for stale in stale_ranges(connection, months)}
    stale |= {p.metric for p in stale_periods(connection, currency) if p.window.overlaps(months)}
    return HandRefresh(result, tuple(sorted(stale & above)), months)


def built_on(name: str) -> set[str]:
    """Return the aggregates and metrics that are built on an aggregate, however many levels above it."""
    found = {aggregate.name for aggregate in AGGREGATES if aggregate.source == name}
    for aggregate in tuple(found):
        found |= built_on(aggregate)
    return found | {table.metric for table in METRIC_TABLES if name in table.aggregates}
