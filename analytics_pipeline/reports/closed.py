"""What the metric tables hold of closed days and months, for the trend of a report and for its proof."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from analytics_pipeline.metrics.revenue import MrrMovements
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import METRIC_TABLES
from analytics_pipeline.reports.report_parts import Key, ReportLoader
from analytics_pipeline.windows import Granularity, Window

T = TypeVar("T")
Closed = defaultdict[datetime, dict[Key, T]]
"""Figures by the start of their period and by company."""

_ZERO = Decimal(0)


class ClosedPeriod(NamedTuple):
    """A closed period of a metric, by which version of the definitions, and whether its figures are to be shown."""

    metric: str
    start: datetime
    version: int
    stands: bool


class RevenueOfPeriod(NamedTuple):
    """Revenue of a day or month in the reporting currency; ``incomplete`` names what lacks amounts without a rate."""

    total_revenue: Decimal
    growth: Decimal | None
    invoiced: Decimal | None
    refunds: Decimal
    mrr: Decimal
    paying_customers: int
    incomplete: frozenset[str]


class UsersOfPeriod(NamedTuple):
    """Users of a day or month."""

    total_users: int
    active_users: int | None
    new_users: int | None
    churned_users: int | None


class MovementsOfPeriod(NamedTuple):
    """What moved MRR in a day or month, and whether amounts without a rate are left out."""

    movements: MrrMovements
    is_incomplete: bool


# Of a company without figures, whose closed period has no row of it.
NO_REVENUE = RevenueOfPeriod(_ZERO, None, _ZERO, _ZERO, _ZERO, 0, frozenset())
NO_USERS = UsersOfPeriod(0, 0, 0, 0)
NO_MOVEMENTS = MovementsOfPeriod(MrrMovements(*[_ZERO] * 8), is_incomplete=False)


def closed_periods(loader: ReportLoader, granularity: Granularity, windows: Sequence[Window]) -> list[ClosedPeriod]:
    """Return which of the windows are closed as periods of whoever is asked for, in the reporting currency."""
    rows = loader.rows(
        "report_closed_periods",
        starts=[window.start for window in windows],
        ends=[window.end for window in windows],
        granularity=str(granularity),
        version=DEFINITIONS_VERSION,
        converting=[table.metric for table in METRIC_TABLES if table.converts],
        horizon=loader.horizon,
    )
    return [ClosedPeriod(*row) for row in rows]


def closed_revenue(
    loader: ReportLoader, granularity: Granularity, starts: Collection[datetime]
) -> Closed[RevenueOfPeriod]:
    """Return the revenue of the closed periods that begin then."""

    def stored(*row: Any) -> RevenueOfPeriod:
        return RevenueOfPeriod(*row)._replace(incomplete=frozenset(row[-1]))

    return _closed(loader, "report_closed_revenue", stored, granularity, starts)


def closed_users(loader: ReportLoader, granularity: Granularity, starts: Collection[datetime]) -> Closed[UsersOfPeriod]:
    """Return the users of the closed periods that begin then."""
    return _closed(loader, "report_closed_users", UsersOfPeriod, granularity, starts)


def closed_movements(
    loader: ReportLoader, granularity: Granularity, starts: Collection[datetime]
) -> Closed[MovementsOfPeriod]:
    """Return what moved MRR in the closed periods that begin then."""

    def stored(*row: Any) -> MovementsOfPeriod:
        *amounts, is_incomplete = row
        return MovementsOfPeriod(MrrMovements(*amounts), is_incomplete)

    return _closed(loader, "report_closed_movements", stored, granularity, starts)


def _closed(
    loader: ReportLoader, query: str, kind: Callable[..., T], granularity: Granularity, starts: Collection[datetime]
) -> Closed[T]:
    found: Closed[T] = defaultdict(dict)
    if starts:
        whose = None if loader.company is None else [loader.company]
        rows = loader.rows(
            query,
            Window(min(starts), granularity.next(max(starts))),
            granularity=str(granularity),
            starts=list(starts),
            companies=whose if loader.each else [],
            together=not loader.each,
        )
        for key, start, *figures in rows:
            found[start][key] = kind(*figures)
    return found
