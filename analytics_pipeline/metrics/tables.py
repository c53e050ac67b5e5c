"""The metric tables: figures of closed days and months per company, and which of them have to be computed again."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from psycopg import sql

from analytics_pipeline.languages.wording import message
from analytics_pipeline.metrics.rates import RATES, Unit
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import require_within_horizon, retention_horizon
from analytics_pipeline.windows import Granularity, Window, midnight, require_aligned

_COMPANY = {"company_id": Column("text", "The tenant; null: the platform's row, over all companies.")}
_PERIOD: Mapping[str, Column] = {
    "granularity": Column("text", "day, month or, of revenue and MRR, year."),
    "period_start": Column("timestamptz", "The instant at which the date, or the month, begins in the time zone."),
    "period_end": Column("timestamptz", "The instant at which it ends, exclusive."),
}
_CALENDAR = {
    "time_zone": Column("text", "The time zone whose date or month it is: the company's, or the platform's."),
    "period_date": Column("date", "The date, of a month its first one."),
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
    is computed from, or whose invalidation log says which events it is computed from have changed. ``has_years``:
    beside its months its calendar years are closed.
    """

    metric: str
    description: str
    columns: Mapping[str, Column] = field(hash=False)
    headlines: Mapping[str, str] = field(hash=False)
    aggregates: tuple[str, ...] = ()
    converts: bool = True
    needs_raw_events: bool = False
    has_years: bool = True

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
        "total_revenue": _amount(message("Payments received minus refunds.")),
        "previous_revenue": _amount(message("The same of the period before.")),
        "revenue_growth": Column("numeric", message("Growth in per cent; null without a base.")),
        "invoiced": _amount(message("Invoices minus credit notes, ex tax.")),
        "refunds": _amount(message("Refunds, positive.")),
        "mrr": _amount(message("Monthly recurring revenue at the period's end.")),
        "arr": _amount(message("12 x mrr.")),
        "paying_customers": Column("bigint", message("Customers with an MRR above zero at the period's end.")),
        "arpa": _amount(message("mrr per paying customer; null while an amount lacks a rate.")),
        "total_users": Column(
            "bigint", "Users seen before the period's end and not deleted before its start, or back since."
        ),
        "average_revenue_per_user": _amount(message("total_revenue per user; null while an amount lacks a rate.")),
        **_UNCONVERTED,
        **_ORIGIN,
        **_CALENDAR,
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
        "start_mrr": _amount(message("MRR just before the period.")),
        "new": _amount(message("Of customers that paid for the first time.")),
        "reactivation": _amount(message("Of customers that came back after an end.")),
        "expansion": _amount(message("More from customers that paid before, or resumed.")),
        "contraction": _amount(message("Less from customers that still pay, or paused; positive.")),
        "churn": _amount(message("Of customers that ended; positive.")),
        "fx": _amount(message("What rates of exchange did.")),
        "end_mrr": _amount(message("MRR at the period's end.")),
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
        **_CALENDAR,
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
            "bigint", message("Users seen before the period's end and not deleted before its start, or back since.")
        ),
        "active_users": Column("bigint", message("Distinct users with an event of their own in the period.")),
        "new_users": Column("bigint", message("Users first seen in the period.")),
        "churned_users": Column(
            "bigint", message("Active in the period before and not in this one, or deleted in it.")
        ),
        "users_at_start": Column(
            "bigint", message("Users just before the period; null: computed by definitions version 1.")
        ),
        "active_before": Column("bigint", message("Users active in the period before.")),
        "churned_of_start": Column(
            "bigint", "Of active_before those that churned; null: closed before it was stored, or not known."
        ),
        "churn_rate": Column("numeric", message("Churned per total users, per cent.")),
        "active_user_rate": Column("numeric", message("Active per total users, per cent.")),
        "churn_rate_of_start": Column(
            "numeric", message("Churned among those active in the period before, per cent of them.")
        ),
        "active_fingerprint": Column("bigint", "Tells one set of active users from another of the same size."),
        **_ORIGIN,
        **_CALENDAR,
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
    has_years=False,
)
METRIC_TABLES = (REVENUE_METRICS, MRR_MOVEMENTS, USER_METRICS)
GRANULARITIES = (Granularity.DAY, Granularity.MONTH)
# Asking for the figures of many days costs little more than for those of one, as long as they fit into memory: after a
# month of so few rows the next ones are closed together.
_MONTHS_AT_ONCE = 3
_FEW_ROWS = 10_000
# The width of years in the tables. They are no partitions, and so no granularity.
_YEAR = "year"
# The table and the width of the partitions of every metric asset.
METRIC_ASSETS = {
    table.asset(granularity): (table, granularity) for table in METRIC_TABLES for granularity in GRANULARITIES
}


@dataclass(frozen=True, slots=True)
class ClosedMetric:
    """What closing a window of a metric table wrote of companies, and how many of their rows differ from before.

    ``years`` are the first dates of the calendar years that were closed with it.
    """

    rows: int
    changed: int
    seconds: float
    years: Sequence[date] = ()


@dataclass(frozen=True, slots=True)
class StalePeriod:
    """A closed partition to be computed again, and why: what changed under it, or by what it was computed.

    ``window`` is the partition, named by its date (UTC). ``has_other_definitions``: it follows another version of the
    definitions than today's.
    """

    metric: str
    granularity: Granularity
    window: Window
    causes: str
    has_other_definitions: bool


@dataclass(frozen=True, slots=True)
class KeptPeriods:
    """Closed partitions that keep figures of other definitions, or another calendar: their events have expired.

    ``companies`` is how many companies keep rows of another time zone or currency than theirs is now.
    """

    count: int
    first: Window
    last: Window
    versions: Sequence[int]
    companies: int


def close_metric(
    connection: Connection,
    table: MetricTable,
    granularity: Granularity,
    window: Window,
    currency: str,
    time_zone: str = "UTC",
    *,
    ended_by: datetime | None = None,
) -> ClosedMetric:
    """Compute the days or months of a window of partitions anew, for every company and the platform; autocommit.

    ``window`` names dates, as partitions do (UTC); of each company it is those dates in its own time zone, as far as
    they have ended (``ended_by``, None: by now), in its currency, of companies without one in the platform's, which are
    given. A month of days (of few companies three of them), or all months of the window, are one transaction: a killed
    run leaves each of them as it was or as it should be. What was closed and can't be computed any more, because its
    events have expired, keeps its figures.
    After months those calendar years are closed of which every month is, as far as they have not been or have changed
    since, each in a transaction of its own: a year's figures are read as they are stored, too.
    Raises ``AnalyticsError`` for a window that is not made of whole days or months, ``HorizonError`` for one whose raw
    events have expired if it needs them.
    """
    require_aligned(table.table, granularity, window)
    started = time.monotonic()
    rows = changed = 0
    parts = list(window.split(Granularity.MONTH)) if granularity is Granularity.DAY else [window]
    together = 1
    if table.needs_raw_events and granularity is Granularity.DAY:
        require_within_horizon(connection, table.table, granularity, window)
    while parts:
        first, last = parts[0], parts[:together][-1]
        written = _close_dates(
            connection, table, str(granularity), first.start.date(), last.end.date(), currency, time_zone, ended_by
        )
        rows, changed = rows + written[0], changed + written[1]
        parts = parts[together:]
        together = _MONTHS_AT_ONCE if written[0] <= together * _FEW_ROWS else 1
    years: list[date] = []
    if table.has_years and granularity is Granularity.MONTH:
        differing = window if changed else None
        # What has changed in a year may concern the next one.
        while year := _due_year(
            connection, table, currency, time_zone, ended_by, differing, years[-1] if years else date.min
        ):
            next_year = year.replace(year=year.year + 1)
            _close_dates(connection, table, _YEAR, year, next_year, currency, time_zone, ended_by)
            years.append(year)
    return ClosedMetric(rows, changed, time.monotonic() - started, years)


def _close_dates(
    connection: Connection,
    table: MetricTable,
    width: str,
    first: date,
    until: date,
    currency: str,
    time_zone: str,
    ended_by: datetime | None,
) -> tuple[int, int]:
    """Compute days, months or years in a transaction, and return how many rows were written and changed."""
    with connection.transaction():
        # Workers cost more to start than any of these periods takes.
        connection.execute("SET LOCAL max_parallel_workers_per_gather = 0")
        rows, changed = fetch_row(
            connection,
            "SELECT rows_written, rows_changed "
            "FROM analytics_close_metric(%s, %s, %s, %s, %s, %s, %s, coalesce(%s, now()))",
            [table.metric, width, first, until, time_zone, currency, DEFINITIONS_VERSION, ended_by],
        )
    return rows, changed


def _due_year(
    connection: Connection,
    table: MetricTable,
    currency: str,
    time_zone: str,
    ended_by: datetime | None,
    differing: Window | None,
    after: date,
) -> date | None:
    """Return the first date of the first year that is to be closed and begins after a date; None: no year is."""
    (year,) = fetch_row(
        connection,
        "SELECT min(y) FROM analytics_due_years(%s, %s, %s, %s, %s, coalesce(%s, now()), %s, %s) AS y WHERE y > %s",
        [
            table.metric,
            time_zone,
            currency,
            DEFINITIONS_VERSION,
            retention_horizon(connection),
            ended_by,
            differing and differing.start.date(),
            differing and differing.end.date(),
            after,
        ],
    )
    return year  # type: ignore[no-any-return]  # the driver's


def stale_periods(
    connection: Connection, currency: str | None = None, time_zone: str | None = None
) -> list[StalePeriod]:
    """Return the closed partitions to be computed again, for whichever company or the platform.

    Users, subscriptions, rates or a company's calendar have changed under them, or they follow other definitions than
    today's or are in another calendar of the platform than this one (None: in whichever), and their events are still
    there.
    """
    rows = connection.execute(
        load_query("stale_partitions_of_metrics"),
        {
            "version": DEFINITIONS_VERSION,
            "zone": time_zone,
            "currency": currency,
            "horizon": retention_horizon(connection),
        },
    ).fetchall()
    return [
        StalePeriod(
            metric, Granularity(granularity), _partition(Granularity(granularity), day), causes, has_other_definitions
        )
        for metric, granularity, day, causes, has_other_definitions in rows
    ]


def kept_periods(
    connection: Connection, table: MetricTable, granularity: Granularity, currency: str, time_zone: str = "UTC"
) -> KeptPeriods | None:
    """Return the closed partitions that no event is left of to compute them as today's settings ask, None without any.

    They keep their figures, with the version of the definitions, the time zone and the currency they were computed by.
    """
    parameters = {
        "metric": table.metric,
        "granularity": str(granularity),
        "version": DEFINITIONS_VERSION,
        "zone": time_zone,
        "currency": currency,
        "horizon": retention_horizon(connection),
    }
    query = sql.SQL(load_query("kept_metric_periods")).format(
        table=sql.Identifier(table.table),
        currency=sql.Identifier("t", "currency") if table.converts else sql.Identifier("k", "currency"),
    )
    count, first, last, versions, companies = fetch_row(connection, query, parameters)
    if not count:
        return None
    return KeptPeriods(count, _partition(granularity, first), _partition(granularity, last), versions, companies)


def restated_months(connection: Connection) -> set[tuple[str, Window]]:
    """Return the closed months, each with its asset, that nothing but other definitions has changed since."""
    rows = connection.execute(
        "SELECT metric, period_date FROM analytics_metric_periods "
        "WHERE granularity = 'month' GROUP BY 1, 2 HAVING bool_and(restated_from IS NOT NULL)"
    ).fetchall()
    assets = {table.metric: table.asset(Granularity.MONTH) for table in METRIC_TABLES}
    return {(assets[metric], _partition(Granularity.MONTH, day)) for metric, day in rows}


def _partition(granularity: Granularity, day: date) -> Window:
    """Return the partition that is named by a date."""
    start = midnight(day)
    return Window(start, granularity.next(start))
