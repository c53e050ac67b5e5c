"""What is known of the data behind a report: what came late or was rejected, what is not closed, what proves it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import chain
from typing import TypeVar

from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import (
    METRIC_TABLES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    USER_METRICS,
    MetricTable,
)
from analytics_pipeline.reports.closed import (
    NO_MOVEMENTS,
    NO_REVENUE,
    NO_USERS,
    Closed,
    MovementsOfPeriod,
    RevenueOfPeriod,
    UsersOfPeriod,
    closed_movements,
    closed_periods,
    closed_revenue,
    closed_users,
)
from analytics_pipeline.reports.figures import period_granularity
from analytics_pipeline.reports.report_parts import Key, ReportLoader, ReportPart
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.windows import Granularity, Window

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawEvents:
    """What the raw events of the period say by themselves.

    ``late`` events came in after their day (UTC) had ended, ``after_end`` ones after the whole period had;
    ``longest_delay`` is the longest time from an event to its arrival.
    """

    events: int
    active_users: int
    total_revenue: Decimal
    invoiced: Decimal
    late: int
    after_end: int
    longest_delay: timedelta


@dataclass(frozen=True, slots=True)
class ClosedFigures:
    """What the metric tables hold of the period; None where it is not closed there, or in another currency."""

    total_revenue: Decimal | None
    invoiced: Decimal | None
    mrr: Decimal | None
    start_mrr: Decimal | None
    total_users: int | None
    active_users: int | None
    new_users: int | None
    churned_users: int | None


@dataclass(frozen=True, slots=True)
class Rejects:
    """How many records were rejected in the period (by arrival), and for which reason."""

    reason: str
    records: int


@dataclass(frozen=True, slots=True)
class Quality:
    """What is known of the data behind the figures.

    ``raw`` is None when raw events of the period have expired, ``closed`` when it is no closed day or month.
    ``to_recompute`` names changes that closed figures of the period have not seen yet, ``unclosed`` the metrics of
    which the day or month is not closed. ``open_days`` holds the days (UTC) of the period, from the first to the last,
    with events that were never taken into the aggregates, or have changed since, whichever company they are of; None
    without any. Of a period that is not over both are empty.
    """

    raw: RawEvents | None
    closed: ClosedFigures | None
    rejects: Sequence[Rejects]
    to_recompute: Sequence[str]
    unclosed: Sequence[str] = ()
    open_days: Window | None = None


_GRANULARITIES = {aggregate.name: aggregate.granularity for aggregate in AGGREGATES}
_NO_EVENTS = RawEvents(0, 0, Decimal(0), Decimal(0), 0, 0, timedelta(0))


def _read(loader: ReportLoader) -> dict[Key, Quality]:
    has_raw = loader.horizon is None or loader.window.start >= loader.horizon
    raw = {key: RawEvents(*figures) for key, *figures in loader.rows("report_raw")} if has_raw else {}
    closed = _closed_figures(loader)
    rejects = loader.listed("report_rejects", Rejects)
    causes = loader.listed("report_changes", str, horizon=loader.horizon)
    unclosed, open_days = ((), None) if loader.scope.provisional else (_unclosed(loader), _open_days(loader))
    return {
        key: Quality(
            raw=raw.get(key, _NO_EVENTS) if has_raw else None,
            closed=closed.get(key),
            rejects=rejects.get(key, ()),
            # What concerns no company in particular concerns every one.
            to_recompute=sorted(
                {*causes.get(None, ()), *(causes.get(key, ()) if loader.each else chain(*causes.values()))}
            ),
            unclosed=unclosed,
            open_days=open_days,
        )
        for key in loader.keys
    }


def _unclosed(loader: ReportLoader) -> tuple[str, ...]:
    """Return the metrics that the window, a day or a month, is not closed of."""
    granularity = period_granularity(loader.window)
    if granularity is None:
        return ()
    rows = loader.rows(
        "report_unclosed",
        granularity=str(granularity),
        version=DEFINITIONS_VERSION,
        metrics=[table.metric for table in METRIC_TABLES],
        horizon=loader.horizon,
    )
    return tuple(metric for (metric,) in rows)


def _open_days(loader: ReportLoader) -> Window | None:
    """Return the days from the first to the last with events that an aggregate lacks; expired ones lack nothing."""
    spans = []
    for stale in stale_ranges(loader.connection, loader.window):
        granularity = _GRANULARITIES[stale.aggregate]
        first = stale.first if loader.horizon is None else max(stale.first, granularity.ceil(loader.horizon))
        if first <= stale.last:
            spans.append((Granularity.DAY.floor(first), Granularity.DAY.next(Granularity.DAY.floor(stale.last))))
    return Window(min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


def _closed_figures(loader: ReportLoader) -> dict[Key, ClosedFigures]:
    """Return what the metric tables hold of the window, nothing when it is no closed day or month."""
    window, start, granularity = loader.window, loader.window.start, period_granularity(loader.window)
    if granularity is None:
        return {}
    closed = {p.metric for p in closed_periods(loader, granularity, [window]) if p.version == DEFINITIONS_VERSION}
    if not closed:
        return {}

    def stored(
        table: MetricTable, read: Callable[[ReportLoader, Granularity, set[datetime]], Closed[T]], none: T
    ) -> Callable[[Key], T | None]:
        if table.metric not in closed:
            return lambda _: None
        found = read(loader, granularity, {start})[start]
        return lambda key: found.get(key, none)

    revenue = stored(REVENUE_METRICS, closed_revenue, NO_REVENUE)
    moved = stored(MRR_MOVEMENTS, closed_movements, NO_MOVEMENTS)
    users = stored(USER_METRICS, closed_users, NO_USERS)
    return {key: _put_together(revenue(key), moved(key), users(key)) for key in loader.keys}


def _put_together(
    revenue: RevenueOfPeriod | None, moved: MovementsOfPeriod | None, users: UsersOfPeriod | None
) -> ClosedFigures:
    return ClosedFigures(
        total_revenue=None if revenue is None else revenue.total_revenue,
        invoiced=None if revenue is None else revenue.invoiced,
        mrr=None if revenue is None else revenue.mrr,
        start_mrr=None if moved is None else moved.movements.start,
        total_users=None if users is None else users.total_users,
        active_users=None if users is None else users.active_users,
        new_users=None if users is None else users.new_users,
        churned_users=None if users is None else users.churned_users,
    )


QUALITY: ReportPart[Quality] = ReportPart("quality", _read, Quality(None, None, (), ()))
