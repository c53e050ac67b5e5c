"""The thirteen months up to the one in which a report's period ends.

They are read from the metric tables where those are closed and have seen every change, or keep the figures of an older
version of the definitions because their events have expired, and are computed where not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analytics_pipeline.companies.local_windows import local_months
from analytics_pipeline.metrics.revenue import MrrFigures, MrrMovements, RevenueFigures
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import METRIC_TABLES, MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS
from analytics_pipeline.metrics.users import UserMetrics
from analytics_pipeline.reports.closed import (
    NO_MOVEMENTS,
    NO_REVENUE,
    NO_USERS,
    MovementsOfPeriod,
    RevenueOfPeriod,
    UsersOfPeriod,
    closed_movements,
    closed_periods,
    closed_revenue,
    closed_users,
)
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.reports.report_parts import Key, ReportLoader, ReportPart
from analytics_pipeline.windows import Granularity


@dataclass(frozen=True, slots=True)
class MonthFigures:
    """A calendar month of the trend, in the report's time zone.

    Amounts are in the reporting currency, ``refunds`` is positive. ``growth`` is that of ``total_revenue`` in per cent,
    None without a base. ``incomplete`` names the figures that lack amounts without a rate (``Unconverted``),
    ``revenueGrowth`` those of the month before; ``movements_incomplete``: what moved MRR lacks some.
    ``definitions_version`` is older than the report's for a month that keeps its figures because its events have
    expired. ``invoiced`` is None where events that it needs have expired.
    """

    month: date
    total_revenue: Decimal
    growth: Decimal | None
    invoiced: Decimal | None
    refunds: Decimal
    mrr: Decimal
    paying_customers: int
    incomplete: frozenset[str]
    total_users: int
    active_users: int | None
    new_users: int | None
    churned_users: int | None
    movements: MrrMovements
    movements_incomplete: bool
    definitions_version: int


def _read(loader: ReportLoader) -> dict[Key, Sequence[MonthFigures]]:
    months = trailing_months(loader.window.last_day.replace(day=1))
    trend = local_months(loader.connection, months, loader.window.time_zone)
    standing = {
        (period.metric, period.start): period.version
        for period in closed_periods(loader, Granularity.MONTH, trend)
        if period.stands
    }
    # The period itself is what the functions say of it, like every other figure of the report.
    stored = {
        table: {w.start for w in trend if w != loader.window and (table.metric, w.start) in standing}
        for table in METRIC_TABLES
    }
    revenue = closed_revenue(loader, Granularity.MONTH, stored[REVENUE_METRICS])
    users = closed_users(loader, Granularity.MONTH, stored[USER_METRICS])
    moved = closed_movements(loader, Granularity.MONTH, stored[MRR_MOVEMENTS])
    for w, answers in loader.revenue([w for w in trend if w.start not in stored[REVENUE_METRICS]]).items():
        revenue[w.start] = {key: _revenue(one) for key, one in answers.items()}
    for w, counts in loader.users([w for w in trend if w.start not in stored[USER_METRICS]]).items():
        users[w.start] = {key: _users(one) for key, one in counts.items()}
    for w, movements in loader.movements([w for w in trend if w.start not in stored[MRR_MOVEMENTS]]).items():
        moved[w.start] = {key: _movements(one) for key, one in movements.items()}
    version = {
        w: min(
            [standing[table.metric, w.start] for table, starts in stored.items() if w.start in starts],
            default=DEFINITIONS_VERSION,
        )
        for w in trend
    }
    return {
        key: [
            MonthFigures(
                w.first_day,
                *revenue[w.start].get(key, NO_REVENUE),
                *users[w.start].get(key, NO_USERS),
                *moved[w.start].get(key, NO_MOVEMENTS),
                version[w],
            )
            for w in trend
        ]
        for key in loader.keys
    }


def _revenue(revenue: RevenueFigures) -> RevenueOfPeriod:
    figures = revenue.metrics
    return RevenueOfPeriod(
        figures.total_revenue,
        figures.revenue_growth,
        figures.invoiced,
        figures.refunds,
        figures.mrr,
        figures.paying_customers,
        frozenset(row.figure for row in revenue.unconverted),
    )


def _users(figures: UserMetrics) -> UsersOfPeriod:
    return UsersOfPeriod(figures.total_users, figures.active_users, figures.new_users, figures.churned_users)


def _movements(figures: MrrFigures) -> MovementsOfPeriod:
    return MovementsOfPeriod(figures.movements, is_incomplete=bool(figures.unconverted))


MONTHS: ReportPart[Sequence[MonthFigures]] = ReportPart("months", _read, ())
