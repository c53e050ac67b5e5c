"""The rates of a subscription business, with the numbers of DEFINITIONS, asked for and stored."""

from decimal import Decimal
from typing import Any

import pytest

from analytics_pipeline.database import migrate
from analytics_pipeline.metrics.answers import revenue_answer, series_answer
from analytics_pipeline.metrics.tables import (
    GRANULARITIES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    close_metric,
    stale_periods,
)
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close, close_inputs, days
from analytics_pipeline_tests.metrics.subscription_changes import COMPANY, Change, a_change, load

JANUARY, FEBRUARY = days("2025-01-01", "2025-01-31"), days("2025-02-01", "2025-02-28")
# The example of DEFINITIONS: ten customers at 100 of whom one leaves, one goes to 50 and one to 180, and two are new.
EXAMPLE = [
    *(a_change("01-05", price="100", name=f"s{n}", user=f"u{n}") for n in range(10)),
    a_change("02-10", "ended", "ended", price="100", name="s0", user="u0"),
    a_change("02-11", "changed", price="50", name="s1", user="u1"),
    a_change("02-12", "changed", price="180", name="s2", user="u2"),
    *(a_change("02-13", price="100", name=f"s{n}", user=f"u{n}") for n in (10, 11)),
]
RATES = {
    "grossMrrChurnRate": "15.0",
    "netMrrChurnRate": "7.0",
    "grossRevenueRetention": "85.0",
    "netRevenueRetention": "93.0",
    "quickRatio": "1.87",
    "newCustomers": 2,
    "returnedCustomers": 0,
    "lostCustomers": 1,
    "customerChurnRate": "10.0",
    "payingCustomers": 11,
    "arpa": "102.73",
    "arpaGrowth": "2.7",
    "lifetimeValue": "1027.27",
}


def answered(connection: Connection, window: Window, company: str | None = COMPANY) -> dict[str, Any]:
    answer = revenue_answer(connection, company, window, "EUR")
    return {name: f"{value}" if isinstance(value, Decimal) else value for name, value in answer.items()}


def of(answer: dict[str, Any], *names: str) -> list[Any]:
    return [answer[name] for name in names]


@pytest.mark.parametrize("company", [COMPANY, None])
@pytest.mark.slow
def test_the_example_of_the_definitions_comes_out(rates: Connection, company: str | None) -> None:
    load(rates, *EXAMPLE)
    assert answered(rates, FEBRUARY, company).items() >= RATES.items()
    # The month's churn is of months only.
    assert answered(rates, days("2025-02-01", "2025-02-27"), company)["lifetimeValue"] is None
    (month,) = series_answer(rates, company, FEBRUARY, "EUR", Granularity.MONTH)["series"]
    assert {name: f"{month[name]}" for name in RATES if name in month} == {
        name: f"{value}" for name, value in RATES.items() if name in month
    }
    assert len(RATES.keys() & month.keys()) > 10


@pytest.mark.slow
def test_who_resumes_or_returns_retains_nothing(rates: Connection) -> None:
    """A customer at 50 who pauses in March and resumes in April at 80, beside one at 100 who stays."""
    load(
        rates,
        a_change("01-02", price="50"),
        a_change("01-02", price="100", name="s2", user="u2"),
        a_change("03-03", "paused", "paused", price="50"),
        a_change("04-20", "resumed", price="80"),
        a_change("01-03", price="10", name="s3", user="u3"),
        a_change("01-20", "ended", "ended", price="10", name="s3", user="u3"),
        a_change("04-05", price="20", name="s4", user="u3"),
    )
    march, april = days("2025-03-01", "2025-03-31"), days("2025-04-01", "2025-04-30")
    moved = answered(rates, march)
    assert (moved["mrrMovements"]["contraction"], moved["lostCustomers"]) == (50, 0)
    moved = answered(rates, april)
    assert (moved["mrrMovements"]["expansion"], moved["mrrMovements"]["reactivation"]) == (80, 20)
    assert of(moved, "netRevenueRetention", "netMrrChurnRate", "returnedCustomers", "quickRatio") == [
        *("100.0", "-100.0", 1, None)
    ]


def test_a_rate_without_a_base_or_with_an_amount_without_a_rate_is_null(rates: Connection) -> None:
    load(rates, a_change("02-05", price="50"), a_change("02-06", price="70", currency="CHF", name="s2", user="u2"))
    names = [name for name in RATES if name.endswith(("Rate", "Retention", "Growth", "Ratio", "Value"))]
    assert of(answered(rates, FEBRUARY), *names) == [None] * len(names)
    load(rates, *EXAMPLE, a_change("01-06", price="70", currency="CHF", name="chf", user="chf"))
    moved = answered(rates, FEBRUARY)
    assert of(moved, "grossMrrChurnRate", "quickRatio", "arpaGrowth", "mrrYearOverYear") == [None] * 4
    # Customers are known all the same.
    assert of(moved, "newCustomers", "lostCustomers", "customerChurnRate") == [2, 1, "9.1"]


def _a_year_ago(change: Change) -> Change:
    return change._replace(at=change.at.replace(year=2024))


@pytest.mark.slow
def test_a_period_is_compared_with_the_same_one_a_year_before(rates: Connection) -> None:
    load(rates, _a_year_ago(a_change("02-20", price="40")), a_change("02-10", "changed", price="50"))
    for year, amount in (("2024", "200"), ("2025", "300")):
        add_event(rates, f"{year}-02-28T12:00", value=amount)
    add_event(rates, "2024-02-29T12:00", value="40")
    february = answered(rates, FEBRUARY)
    assert of(february, "totalRevenueYearOverYear", "mrrYearOverYear") == ["25.0", "25.0"]
    assert answered(rates, days("2025-02-28"))["totalRevenueYearOverYear"] == "50.0"
    assert answered(rates, days("2024-02-28"))["totalRevenueYearOverYear"] is None
    add_event(rates, "2025-02-27T12:00", value="70", currency="CHF")
    assert answered(rates, FEBRUARY)["totalRevenueYearOverYear"] is None


@pytest.mark.slow
def test_the_rates_are_stored_of_each_company_and_follow_what_the_year_before_becomes(connection: Connection) -> None:
    load(connection, *EXAMPLE, *(_a_year_ago(change) for change in EXAMPLE[:5]))
    add_event(connection, "2024-02-10T10:00", value="100")
    add_event(connection, "2025-02-10T10:00", value="150")
    year_before = days("2024-02-01", "2024-02-29")
    for month in (year_before, JANUARY, FEBRUARY):
        close(connection, month)
    stored = (
        "SELECT gross_mrr_churn_rate, quick_ratio, lifetime_value, total_revenue_year_over_year "
        "FROM analytics_mrr_movements_rounded "
        "WHERE company_id IS NOT NULL AND granularity = 'month' AND period_start = '2025-02-01Z'"
    )
    assert connection.execute(stored).fetchall() == [(*map(Decimal, ("15.0", "1.87", "1027.27", "50.0")),)]
    assert stale_periods(connection) == []
    # Late by a year.
    add_event(connection, "2024-02-10T11:00", value="100")
    late = days("2024-02-10")
    for granularity, window in ((Granularity.HOUR, late), (Granularity.DAY, late), (Granularity.MONTH, year_before)):
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity:
                refresh(connection, aggregate, window)
    close_inputs(connection, late)
    close_metric(connection, REVENUE_METRICS, Granularity.MONTH, year_before, "EUR")
    stale = {(p.metric, p.window) for p in stale_periods(connection) if p.granularity is Granularity.MONTH}
    assert (MRR_MOVEMENTS.metric, FEBRUARY) in stale
    close_metric(connection, MRR_MOVEMENTS, Granularity.MONTH, FEBRUARY, "EUR")
    assert connection.execute(stored).fetchall() == [(*map(Decimal, ("15.0", "1.87", "1027.27", "-25.0")),)]


@pytest.mark.slow
def test_what_was_closed_before_gets_its_rates_as_everything_that_has_changed(connection: Connection) -> None:
    load(connection, *EXAMPLE)
    close(connection, JANUARY)
    close(connection, FEBRUARY)
    # As the version before had left it.
    connection.execute("UPDATE analytics_mrr_movements SET lost_customers = NULL, gross_mrr_churn_rate = NULL")
    connection.execute("DELETE FROM analytics_schema_migrations WHERE name LIKE '%_subscription_rates.sql'")
    (applied,) = migrate().applied
    assert applied.endswith("_subscription_rates.sql")
    stale = stale_periods(connection)
    assert {(p.metric, p.causes) for p in stale} == {("mrr_movements", "rates of subscriptions")}
    assert len(stale) == 59 + 2
    for month in (JANUARY, FEBRUARY):
        for granularity in (Granularity.DAY, Granularity.MONTH):
            close_metric(connection, MRR_MOVEMENTS, granularity, month, "EUR")
    assert stale_periods(connection) == []
    stored = (
        "SELECT lost_customers, gross_mrr_churn_rate FROM analytics_mrr_movements_rounded "
        "WHERE company_id IS NOT NULL AND granularity = %s"
    )
    assert connection.execute(f"{stored} AND period_start = '2025-02-01Z'", ["month"]).fetchall() == [(1, 15)]


@pytest.mark.slow
def test_closing_both_years_in_whichever_order_leaves_nothing_to_compute_again(connection: Connection) -> None:
    load(connection, *EXAMPLE, *(_a_year_ago(change) for change in EXAMPLE[:5]))
    add_event(connection, "2024-02-10T12:00", value="50")
    year_before = days("2024-02-01", "2024-02-29")
    for month in (year_before, JANUARY, FEBRUARY):
        close_inputs(connection, month)
    for table, windows in ((MRR_MOVEMENTS, (FEBRUARY, year_before)), (REVENUE_METRICS, (year_before, FEBRUARY))):
        for window in windows:
            for granularity in GRANULARITIES:
                close_metric(connection, table, granularity, window, "EUR")
    assert stale_periods(connection) == []
