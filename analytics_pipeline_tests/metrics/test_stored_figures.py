"""Answers read closed months and years as they are stored, where that is what computing them gives: nowhere else."""

from collections.abc import Iterator
from datetime import date

import pytest

from analytics_pipeline.health.metrics import equals_definitions
from analytics_pipeline.metrics.periods import CompanyWindow
from analytics_pipeline.metrics.revenue import revenue_figures
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.two_years import (
    BEFORE,
    COMPUTED,
    JULY,
    JUNE,
    MARCH,
    MONEY,
    READ,
    YEAR,
    add_change,
    answered,
    computed,
    fill,
    of_all,
    read,
    settle,
    stored_years,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_years(shared: Connection) -> Connection:
    fill(shared)
    return shared


@pytest.fixture
def closed(two_years: Connection) -> Iterator[Connection]:
    """What is undone at the end: nothing can be refreshed in it."""
    with two_years.transaction(force_rollback=True):
        yield two_years


def test_a_year_is_closed_once_its_months_are(connection: Connection) -> None:
    add_event(connection, "2024-10-05T10:00")
    add_event(connection, "2024-12-05T10:00")
    close_inputs(connection, days("2024-10-01", "2024-12-31"))
    closed = settle(connection, days("2024-10-01", "2024-11-30"))
    assert (stored_years(connection), [each.years for each in closed]) == (set(), [[], [], []])
    closed = settle(connection, days("2024-12-01", "2024-12-31"))
    assert [each.years for each in closed] == [[date(2024, 1, 1)], [date(2024, 1, 1)], []]
    assert stored_years(connection) == {("revenue", 2024, "acme"), ("revenue", 2024, None)}
    assert [each.years for each in settle(connection, days("2024-12-01", "2024-12-31"))] == [[], [], []]
    year: list[CompanyWindow] = [(None, BEFORE)]
    assert read(connection, year) == {"revenue": [True], "movements": [False]}, "nobody has ever paid"
    assert answered(connection, year) == computed(connection, year)
    # Late, and behind all that the aggregates hold: they read it from the events at once.
    add_event(connection, "2024-12-20T10:00", value="7")
    assert read(connection, year) == of_all(COMPUTED, year)
    (figures,) = revenue_figures(connection, year, "EUR", as_stored=True)
    assert figures.metrics.total_revenue == 10 + 10 + 7


def test_a_year_that_is_closed_follows_whatever_months_are_closed_before_its_first_one(connection: Connection) -> None:
    for month, value in ((3, "100"), (9, "10"), (12, "1")):
        add_event(connection, f"2024-{month:02}-05T10:00", value=value)
    late_months = days("2024-09-01", "2024-12-31")
    close_inputs(connection, late_months)
    settle(connection, late_months, MONEY)
    assert stored_years(connection) == set(), "March has events"
    connection.execute("DELETE FROM analytics_events WHERE \"timestamp\" < '2024-09-01Z'")
    settle(connection, late_months, MONEY)
    assert stored_years(connection) == {("revenue", 2024, "acme"), ("revenue", 2024, None)}
    add_event(connection, "2024-03-05T10:00", value="100")
    march = days("2024-03-01", "2024-03-31")
    close_inputs(connection, march)
    settle(connection, march, MONEY)
    year: list[CompanyWindow] = [("acme", BEFORE), (None, BEFORE)]
    assert read(connection, year)["revenue"] == [READ, READ]
    assert answered(connection, year) == computed(connection, year)
    assert answered(connection, year)[0].metrics.total_revenue == 111  # type: ignore[union-attr]


def test_closed_months_and_years_are_read_and_are_what_computing_gives(closed: Connection) -> None:
    periods: list[CompanyWindow] = [
        (company, window)
        for company in ("acme", "umbra", None)
        for window in (MARCH, YEAR, BEFORE, Window.of_month(date(2024, 2, 1)))
    ]
    assert read(closed, periods) == {"revenue": [True] * 12, "movements": [True] * 12}
    assert answered(closed, periods) == computed(closed, periods)
    others: list[CompanyWindow] = [
        ("acme", days("2025-03-01")),
        ("acme", days("2025-03-02", "2025-04-01")),
        ("nobody", YEAR),
        ("nyc", YEAR),
        (None, Window.of_month(date(2026, 1, 1))),
    ]
    assert read(closed, others) == of_all(COMPUTED, others)
    assert answered(closed, [*others, *periods]) == computed(closed, [*others, *periods])
    dollars = [(company, window) for company, window in periods if company is not None]
    assert read(closed, dollars, "USD") == of_all(COMPUTED, dollars)
    closed.execute("UPDATE analytics_revenue_metrics SET total_revenue = 7 WHERE period_date = '2025-03-01'")
    (figures,) = revenue_figures(closed, [("acme", MARCH)], "EUR", as_stored=True)
    assert figures.metrics.total_revenue == 7, "so it is read"


def test_where_events_are_in_no_table_yet_figures_are_computed(closed: Connection) -> None:
    periods: list[CompanyWindow] = [("acme", MARCH), ("umbra", YEAR), (None, YEAR)]
    assert read(closed, periods) == of_all(READ, periods)
    add_change(closed, "2023-11-20T12:00", "acme", "s9", user="u9")
    assert read(closed, periods) == of_all(COMPUTED, periods)
    assert answered(closed, periods) == computed(closed, periods)


def test_a_change_of_today_concerns_only_what_it_says_of_the_past(closed: Connection) -> None:
    before: list[CompanyWindow] = [("acme", Window.of_month(date(2024, 10, 1))), ("acme", MARCH), ("acme", YEAR)]
    everybody: list[CompanyWindow] = [(None, window) for _, window in before]
    add_change(closed, "2026-01-05T12:00", "acme", "s1", user="u1", price="99")
    assert read(closed, before) == of_all(READ, before)
    assert answered(closed, before) == computed(closed, before)
    # Whose the other one has been from November 2024 on, which no event had said.
    add_change(closed, "2026-01-06T12:00", "acme", "s2", user="u1")
    assert read(closed, before) == {figures: [True, False, False] for figures in ("revenue", "movements")}
    assert answered(closed, before) == computed(closed, before)
    assert read(closed, [("umbra", MARCH)]) == of_all(READ, [("umbra", MARCH)])
    assert answered(closed, everybody) == computed(closed, everybody)


def test_a_database_of_an_earlier_release_gets_its_years_with_the_next_month(closed: Connection) -> None:
    wanted = stored_years(closed)
    assert {(figures, year) for figures, year, _ in wanted} == {
        (figures, year) for figures in ("revenue", "movements") for year in (2024, 2025)
    }
    for relation in ("analytics_metric_periods", *(table.table for table in MONEY)):
        closed.execute(f"DELETE FROM {relation} WHERE granularity = 'year'")
    settle(closed, Window.of_month(date(2025, 12, 1)))
    assert stored_years(closed) == wanted


def test_behind_the_retention_horizon_all_companies_together_are_computed(closed: Connection) -> None:
    """Which of them are for tests may have been said since: their rows keep whom they had."""
    periods: list[CompanyWindow] = [("acme", MARCH), (None, MARCH), (None, JULY), (None, YEAR)]
    closed.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-07-01Z')")
    assert read(closed, periods) == {figures: [True, False, True, False] for figures in ("revenue", "movements")}
    closed.execute("INSERT INTO analytics_companies (company_id, is_test) VALUES ('umbra', true)")
    assert read(closed, periods) == {figures: [True, False, False, False] for figures in ("revenue", "movements")}
    settle(closed)
    assert read(closed, periods)["revenue"] == [True, False, True, False]
    assert answered(closed, periods) == computed(closed, periods)


def test_what_was_closed_with_events_that_no_table_has_taken_in_is_computed(closed: Connection) -> None:
    """They may be taken away again, and nobody notes it."""
    march: list[CompanyWindow] = [("acme", MARCH), (None, MARCH), ("acme", YEAR)]
    as_it_was = computed(closed, march)
    add_change(closed, "2026-01-06T12:00", "acme", "s2", user="u1")
    settle(closed, MARCH)
    closed.execute("DELETE FROM analytics_events WHERE timestamp >= '2026-01-01Z'")
    assert read(closed, march) == of_all(COMPUTED, march)
    assert answered(closed, march) == computed(closed, march) == as_it_was
    settle(closed, MARCH)
    assert read(closed, march) == of_all(READ, march)
    assert answered(closed, march) == as_it_was


def test_a_year_that_differs_from_what_the_definitions_give_is_found(two_years: Connection) -> None:
    def proof(window: Window | None = None) -> tuple[bool, str, object]:
        found = equals_definitions(
            two_years, get_settings(), "mrr_movements_monthly", MRR_MOVEMENTS, Granularity.MONTH, window
        )
        return found.passed, found.summary, found.metadata["years compared"]

    passed, summary, years = proof()
    assert (passed, years) == (True, 2)
    assert summary == "All 48 rows of 14 months and 2 years equal what the definitions give."
    two_years.execute(
        "UPDATE analytics_mrr_movements SET new = new + 1, fx = fx - 1 "
        "WHERE granularity = 'year' AND period_date = '2025-01-01' AND company_id = 'umbra'"
    )
    passed, summary, _ = proof(JUNE)
    assert not passed
    assert "umbra, 2025-01-01: " in summary
    two_years.execute(
        "UPDATE analytics_mrr_movements SET new = new - 1, fx = fx + 1 "
        "WHERE granularity = 'year' AND period_date = '2025-01-01' AND company_id = 'umbra'"
    )
