"""The metric tables: figures of closed days and months per company, and which of them have to be computed again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analytics_pipeline.metrics.rates import RATES, Unit
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import require_within_horizon, retention_horizon
from analytics_pipeline.windows import Granularity, Window, require_aligned

_COMPANY = {"company_id": Column("text", "The tenant.")}
_PERIOD: Mapping[str, Column] = {
    "granularity": Column("text", "day or month."),
    "period_start": Column("timestamptz", "Start of the period, UTC."),
    "period_end": Column("timestamptz", "End of the period, exclusive, UTC."),
}
_CURRENCY = {"currency": Column("text", "The reporting currency of the amounts.")}
_UNCONVERTED = {"unconverted": Column("jsonb", "Amounts left out of the figures for want of a rate, with their days.")}
_ORIGIN: Mapping[str, Column] = {
    "definitions_version": Column("integer", "Version of the definitions the figures follow."),
    "computed_at": Column("timestamptz", "When they were computed."),
}


@dataclass(frozen=True, slots=True)
class MetricTable:
    """One metric as a table of closed periods. ``converts``: its amounts are in the reporting currency.

    ``headlines`` are the columns, amounts and counts, that say most of a period, with what they are called for people.
    ``needs_raw_events``: its days are computed from events, its months from what outlives them. ``aggregates``: what it
    is computed from, or whose invalidation log says which events it is computed from have changed.
    """

    metric: str
    description: str
    columns: Mapping[str, Column] = field(hash=False)
    headlines: Mapping[str, str] = field(hash=False)
    aggregates: tuple[str, ...] = ()
    converts: bool = True
    needs_raw_events: bool = False

    @property
    def table(self) -> str:
        """The table's name."""
        return f"analytics_{self.metric}"

    def asset(self, granularity: Granularity) -> str:
        """Return the name under which its days, or its months, are closed."""
        return self.metric if granularity is Granularity.DAY else f"{self.metric}_{granularity}ly"

    @property
    def rows_function(self) -> str:
        """The SQL function that gives what the table must hold of a window."""
        return f"{self.table}_rows"

    @property
    def amounts(self) -> list[str]:
        """The columns that are in the reporting currency."""
        return [name for name, column in self.columns.items() if column.is_amount]

    @property
    def together_function(self) -> str:
        """The SQL function that gives the closed periods of a window over all companies."""
        return f"{self.table}_together"


def _amount(description: str) -> Column:
    return Column("numeric", description, is_amount=True)


def _rates(*units: Unit) -> Mapping[str, Column]:
    """Return the columns of the rates of some units."""
    return {
        name: Column("bigint" if rate.unit is Unit.COUNT else "numeric", rate.description, rate.unit is Unit.MONEY)
        for name, rate in RATES.items()
        if rate.unit in units
    }


REVENUE_METRICS = MetricTable(
    "revenue_metrics",
    "Revenue, MRR, ARR, revenue per user and growth",
    {
        **_COMPANY,
        **_PERIOD,
        **_CURRENCY,
        "total_revenue": _amount("Payments received minus refunds."),
        "previous_revenue": _amount("The same of the period before."),
        "revenue_growth": Column("numeric", "Growth in per cent; null without a base."),
        "invoiced": _amount("Invoices minus credit notes, ex tax."),
        "refunds": _amount("Refunds, positive."),
        "mrr": _amount("Monthly recurring revenue at the period's end."),
        "arr": _amount("12 x mrr."),
        "paying_customers": Column("bigint", "Customers with an MRR above zero at the period's end."),
        "arpa": _amount("mrr per paying customer; null while an amount lacks a rate."),
        "total_users": Column(
            "bigint", "Users seen before the period's end and not deleted before its start, or back since."
        ),
        "average_revenue_per_user": _amount("total_revenue per user; null while an amount lacks a rate."),
        **_UNCONVERTED,
        **_ORIGIN,
    },
    {"total_revenue": "revenue", "mrr": "MRR", "arr": "ARR", "total_users": "users"},
    aggregates=("analytics_revenue_daily", "analytics_billing_daily"),
)
MRR_MOVEMENTS = MetricTable(
    "mrr_movements",
    "MRR at start and end, and what moved it",
    {
        **_COMPANY,
        **_PERIOD,
        **_CURRENCY,
        "start_mrr": _amount("MRR just before the period."),
        "new": _amount("Of customers that paid for the first time."),
        "reactivation": _amount("Of customers that came back after an end."),
        "expansion": _amount("More from customers that paid before, or resumed."),
        "contraction": _amount("Less from customers that still pay, or paused; positive."),
        "churn": _amount("Of customers that ended; positive."),
        "fx": _amount("What rates of exchange did."),
        "end_mrr": _amount("MRR at the period's end."),
        **_UNCONVERTED,
        **_ORIGIN,
        "expansion_of_paying": _amount("Of expansion, that of customers whose MRR at the start is above zero."),
        **_rates(Unit.COUNT),
        "customers_at_start": Column("bigint", "Customers with an MRR above zero just before the period."),
        "paying_customers": Column("bigint", "Customers with an MRR above zero at the period's end."),
        "mrr_at_start": _amount("All MRR just before the period; null while an amount lacks a rate."),
        "mrr": _amount("All MRR at the period's end; null while an amount lacks a rate."),
        "mrr_year_before": _amount("The same a year before."),
        "total_revenue": _amount("Payments received minus refunds; null while an amount lacks a rate."),
        "total_revenue_year_before": _amount("The same of the same period a year before."),
        **_rates(Unit.PERCENT, Unit.RATIO, Unit.MONEY),
    },
    {
        "end_mrr": "MRR",
        "new": "new MRR",
        "reactivation": "reactivated MRR",
        "expansion": "expanded MRR",
        "contraction": "contracted MRR",
        "churn": "churned MRR",
    },
    aggregates=("analytics_revenue_daily",),
)
USER_METRICS = MetricTable(
    "user_metrics",
    "Total, active, new and churned users",
    {
        **_COMPANY,
        **_PERIOD,
        "total_users": Column(
            "bigint", "Users seen before the period's end and not deleted before its start, or back since."
        ),
        "active_users": Column("bigint", "Distinct users with an event of their own in the period."),
        "new_users": Column("bigint", "Users first seen in the period."),
        "churned_users": Column("bigint", "Active in the period before and not in this one, or deleted in it."),
        "users_at_start": Column("bigint", "Users just before the period; null: computed by definitions version 1."),
        "active_before": Column("bigint", "Users active in the period before."),
        "churned_of_start": Column(
            "bigint", "Of active_before those that churned; null: closed before it was stored, or not known."
        ),
        "churn_rate": Column("numeric", "Churned per total users, per cent."),
        "active_user_rate": Column("numeric", "Active per total users, per cent."),
        "churn_rate_of_start": Column("numeric", "Churned among those active in the period before, per cent of them."),
        "active_fingerprint": Column("bigint", "Tells one set of active users from another of the same size."),
        **_ORIGIN,
    },
    {
        "total_users": "users",
        "active_users": "active users",
        "new_users": "new users",
        "churned_users": "churned users",
    },
    aggregates=("analytics_user_activity_daily", "analytics_user_activity_monthly"),
    converts=False,
    needs_raw_events=True,
)
METRIC_TABLES = (REVENUE_METRICS, MRR_MOVEMENTS, USER_METRICS)
GRANULARITIES = (Granularity.DAY, Granularity.MONTH)
# The table and the width of the partitions of every metric asset.
METRIC_ASSETS = {
    table.asset(granularity): (table, granularity) for table in METRIC_TABLES for granularity in GRANULARITIES
}


@dataclass(frozen=True, slots=True)
class ClosedMetric:
    """What closing a window of a metric table wrote, and how many of its rows differ from before."""

    rows: int
    changed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StalePeriod:
    """A closed partition to be computed again, and why: what changed under it, or by what it was computed.

    ``has_other_definitions``: it follows another version of the definitions than today's.
    """

    metric: str
    granularity: Granularity
    window: Window
    causes: str
    has_other_definitions: bool


@dataclass(frozen=True, slots=True)
class KeptPeriods:
    """Closed partitions that keep figures of other definitions, or in another currency: their events have expired."""

    count: int
    first: Window
    last: Window
    versions: Sequence[int]


def close_metric(
    connection: Connection, table: MetricTable, granularity: Granularity, window: Window, currency: str
) -> ClosedMetric:
    """Compute the days or months of a window anew, for every company; autocommit connection.

    A month of days, or a year of months, is one transaction: a killed run leaves each of them as it was or as it
    should be. A first day that was closed and can't be computed any more, because who has churned in it follows from
    the day before, keeps its figures. Raises ``AnalyticsError`` for a window that is not made of whole days or months,
    ``HorizonError`` for one whose raw events have expired if it needs them.
    """
    require_aligned(table.table, granularity, window)
    started = time.monotonic()
    rows = changed = 0
    parts = list(window.split(Granularity.MONTH)) if granularity is Granularity.DAY else [window]
    if table.needs_raw_events and granularity is Granularity.DAY:
        require_within_horizon(connection, table.table, granularity, window)
        parts[:1] = _without_kept_day(connection, table, parts[0])
    for part in parts:
        with connection.transaction():
            # Workers cost more to start than any of these periods takes.
            connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
            written = fetch_row(
                connection,
                "SELECT rows_written, rows_changed FROM analytics_close_metric(%s, %s, %s, %s, %s, %s)",
                [table.metric, str(granularity), part.start, part.end, currency, DEFINITIONS_VERSION],
            )
        rows, changed = rows + written[0], changed + written[1]
    return ClosedMetric(rows, changed, time.monotonic() - started)


def _without_kept_day(connection: Connection, table: MetricTable, window: Window) -> list[Window]:
    """Return the window without its first day if that was closed and keeps its figures; empty if nothing is left."""
    (is_kept,) = fetch_row(
        connection,
        "SELECT EXISTS (SELECT FROM analytics_metric_periods AS m WHERE m.metric = %s AND m.granularity = 'day' "
        "AND m.period_start = %s AND analytics_is_kept(m, %s))",
        [table.metric, window.start, retention_horizon(connection)],
    )
    start = Granularity.DAY.next(window.start) if is_kept else window.start
    return [Window(start, window.end)] if start < window.end else []


def stale_periods(connection: Connection, currency: str | None = None) -> list[StalePeriod]:
    """Return the closed partitions to be computed again.

    Users, subscriptions or rates have changed under them, or they follow other definitions than today's or are in
    another reporting currency than this one (None: in whichever), and their events are still there.
    """
    rows = connection.execute(
        "SELECT metric, granularity, period_start, period_end, causes, has_other_definitions "
        "FROM analytics_stale_metric_periods(%s, %s, %s)",
        [DEFINITIONS_VERSION, currency, retention_horizon(connection)],
    ).fetchall()
    return [
        StalePeriod(metric, Granularity(granularity), Window(start, end), causes, has_other_definitions)
        for metric, granularity, start, end, causes, has_other_definitions in rows
    ]


def kept_periods(
    connection: Connection, table: MetricTable, granularity: Granularity, currency: str
) -> KeptPeriods | None:
    """Return the closed partitions that no event is left of to compute them by today's definitions, None without any.

    They keep their figures, and the version of the definitions they were computed by.
    """
    parameters = {
        "metric": table.metric,
        "granularity": str(granularity),
        "version": DEFINITIONS_VERSION,
        "currency": currency,
        "horizon": retention_horizon(connection),
    }
    count, first, last, versions = fetch_row(connection, load_query("kept_metric_periods"), parameters)
    if not count:
        return None
    return KeptPeriods(count, Window(first, granularity.next(first)), Window(last, granularity.next(last)), versions)


def restated_months(connection: Connection) -> set[tuple[str, Window]]:
    """Return the closed months, each with its asset, that nothing but other definitions has changed since."""
    rows = connection.execute(
        "SELECT metric, period_start, period_end FROM analytics_metric_periods "
        "WHERE granularity = 'month' AND restated_from IS NOT NULL"
    ).fetchall()
    assets = {table.metric: table.asset(Granularity.MONTH) for table in METRIC_TABLES}
    return {(assets[metric], Window(start, end)) for metric, start, end in rows}
