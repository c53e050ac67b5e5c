"""Two closed years, and whether their figures are read as they are stored, or computed."""

from collections.abc import Sequence
from datetime import date

from analytics_pipeline.metrics.periods import CompanyWindow, period_parameters
from analytics_pipeline.metrics.revenue import MrrFigures, RevenueFigures, mrr_figures, revenue_figures
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import (
    METRIC_TABLES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    ClosedMetric,
    MetricTable,
    close_metric,
)
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event, add_subscription_change
from analytics_pipeline_tests.metrics.closing import close_inputs, days

MONEY = (REVENUE_METRICS, MRR_MOVEMENTS)
SPAN = days("2024-01-01", "2025-12-31")
BEFORE, YEAR = days("2024-01-01", "2024-12-31"), days("2025-01-01", "2025-12-31")
MARCH, JUNE, JULY = (Window.of_month(date(2025, month, 1)) for month in (3, 6, 7))
READ, COMPUTED = True, False

Figures = list[RevenueFigures | MrrFigures]


def fill(connection: Connection) -> None:
    """Two closed years of three companies, one in New York and in dollars; the last event is on their last day."""
    connection.execute(
        "INSERT INTO analytics_companies (company_id, time_zone, currency) VALUES ('nyc', 'America/New_York', 'USD')"
    )
    connection.execute(
        "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
        "SELECT d, 'EUR', 'USD', 1.25, 'x' FROM generate_series('2023-12-01', '2026-02-01', interval '1 day') AS d"
    )
    for company in ("acme", "nyc", "umbra"):
        for month in Window(SPAN.start, SPAN.end).split(Granularity.MONTH):
            when = f"{month.start:%Y-%m}-15T10:00"
            add_event(
                connection, when, company_id=company, value=str(month.start.month), user_id=f"u{month.start.month % 5}"
            )
        for event_type, category in (("payment.received", "revenue"), ("invoice.created", "billing")):
            add_event(connection, "2025-12-31T23:30", event_type, category=category, company_id=company)
        add_change(connection, "2024-02-03T12:00", company, "s1", user="u1", price="40")
        add_change(connection, "2024-11-03T12:00", company, "s2", user=None, price="12.5")
        add_change(connection, "2025-03-10T12:00", company, "s1", user="u1", price="60")
        add_change(connection, "2025-09-10T12:00", company, "s2", "ended", "ended", user=None, price="12.5")
    close_inputs(connection, SPAN)
    settle(connection)


def add_change(
    connection: Connection,
    when: str,
    company: str,
    subscription: str,
    what: str = "changed",
    status: str = "active",
    *,
    user: str | None,
    price: str = "50",
) -> None:
    add_subscription_change(
        connection, when, what, status, company_id=company, subscription_id=subscription, user_id=user, price=price
    )


def settle(
    connection: Connection, window: Window = SPAN, tables: Sequence[MetricTable] = METRIC_TABLES
) -> list[ClosedMetric]:
    return [close_metric(connection, table, Granularity.MONTH, window, "EUR") for table in tables]


def refresh_day(connection: Connection, window: Window) -> None:
    """Take what has changed in a day into the aggregates."""
    for granularity in (Granularity.HOUR, Granularity.DAY):
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity:
                refresh(connection, aggregate, window)


def answered(connection: Connection, periods: Sequence[CompanyWindow], currency: str = "EUR") -> Figures:
    return [
        *revenue_figures(connection, periods, currency, as_stored=True),
        *mrr_figures(connection, periods, currency, as_stored=True),
    ]


def computed(connection: Connection, periods: Sequence[CompanyWindow], currency: str = "EUR") -> Figures:
    return [*revenue_figures(connection, periods, currency), *mrr_figures(connection, periods, currency)]


def read(connection: Connection, periods: Sequence[CompanyWindow], currency: str = "EUR") -> dict[str, list[bool]]:
    """Tell of each period whether revenue, and movements, are read as they are stored."""
    parameters = {**period_parameters(periods), "currency": currency, "version": DEFINITIONS_VERSION}
    found = {}
    for figures in ("revenue", "movements"):
        rows = connection.execute(load_query(f"stored_{figures}_of_periods"), parameters).fetchall()
        places = {row[0] for row in rows}
        found[figures] = [place in places for place in range(1, len(periods) + 1)]
    return found


def of_all(is_read: object, periods: Sequence[CompanyWindow]) -> dict[str, list[object]]:
    return {figures: [is_read] * len(periods) for figures in ("revenue", "movements")}


def stored_years(connection: Connection) -> set[tuple[str, int, str | None]]:
    rows = connection.execute(
        "SELECT 'revenue', extract(year FROM period_date)::int, company_id FROM analytics_revenue_metrics "
        "WHERE granularity = 'year' UNION ALL "
        "SELECT 'movements', extract(year FROM period_date)::int, company_id FROM analytics_mrr_movements "
        "WHERE granularity = 'year'"
    )
    return set(rows.fetchall())
