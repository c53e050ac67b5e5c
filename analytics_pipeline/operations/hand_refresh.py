"""Refreshing an aggregate by hand, and what that leaves to be closed again above it."""

from dataclasses import dataclass

from analytics_pipeline.metrics.tables import METRIC_TABLES, StalePeriod, stale_periods
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import StaleRange, stale_ranges
from analytics_pipeline.timescale.refresh import RefreshResult, refresh
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class HandRefresh:
    """What a refresh did, and what is built on the aggregate and stale now, in the months of its window."""

    result: RefreshResult
    stale_aggregates: tuple[StaleRange, ...]
    stale_figures: tuple[StalePeriod, ...]

    @property
    def span_to_close(self) -> Window | None:
        """The months whose closing settles what is stale above, None if nothing is."""
        if not self.stale_aggregates and not self.stale_figures:
            return None
        return self.result.window.widen(Granularity.MONTH)


def refresh_by_hand(
    connection: Connection, aggregate: ContinuousAggregate, window: Window, currency: str
) -> HandRefresh:
    """Refresh the aligned, half-open window of an aggregate as closing does; autocommit connection.

    ``currency`` is the reporting currency. What is built on the aggregate is not computed. Raises as ``refresh`` does:
    for a window that is not of whole buckets, has not ended, or begins behind the retention horizon.
    """
    result = refresh(connection, aggregate, window)
    above = built_on(aggregate.name)
    months = result.window.widen(Granularity.MONTH)
    return HandRefresh(
        result,
        tuple(stale for stale in stale_ranges(connection, months) if stale.aggregate in above),
        tuple(
            period
            for period in stale_periods(connection, currency)
            if period.metric in above and period.window.overlaps(months)
        ),
    )


def built_on(name: str) -> set[str]:
    """Return the aggregates and metrics that are built on an aggregate, however many levels above it."""
    found = {aggregate.name for aggregate in AGGREGATES if aggregate.source == name}
    for aggregate in tuple(found):
        found |= built_on(aggregate)
    return found | {table.metric for table in METRIC_TABLES if name in table.aggregates}
