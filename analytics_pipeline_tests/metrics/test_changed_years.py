"""Closed years that have changed: what is read of them is what computing them gives, at every moment."""

import os
from datetime import date, datetime, timedelta
from random import Random

import pytest

from analytics_pipeline.companies.local_windows import local_window
from analytics_pipeline.metrics.periods import CompanyWindow
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, stale_periods
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.two_years import (
    BEFORE,
    COMPUTED,
    JUNE,
    MARCH,
    MONEY,
    READ,
    SPAN,
    YEAR,
    add_change,
    answered,
    computed,
    fill,
    of_all,
    read,
    refresh_day,
    settle,
)

pytestmark = pytest.mark.slow

# Random histories: each takes a quarter of a minute.
HISTORIES = int(os.environ.get("FUZZ_TIMES", "1"))


@pytest.fixture(scope="module")
def years(shared: Connection) -> Connection:
    """Every test leaves them closed, with more in them."""
    fill(shared)
    return shared


def test_a_company_s_own_year_is_read_in_its_calendar(years: Connection) -> None:
    first, last = date(2025, 1, 1), date(2025, 12, 31)
    of_2024 = local_window(years, date(2024, 1, 1), date(2024, 12, 31), "America/New_York")
    march = local_window(years, date(2025, 3, 1), date(2025, 3, 31), "America/New_York")
    periods: list[CompanyWindow] = [("nyc", of_2024), ("nyc", march)]
    assert read(years, periods, "USD") == of_all(READ, periods)
    assert answered(years, periods, "USD") == computed(years, periods, "USD")
    assert read(years, periods, "EUR") == of_all(COMPUTED, periods)
    # Its last hours are those of a day that is not closed, and has no events.
    year: list[CompanyWindow] = [("nyc", local_window(years, first, last, "America/New_York"))]
    assert read(years, year, "USD") == of_all(READ, year)
    add_event(years, "2026-01-01T03:00", company_id="nyc")
    assert read(years, year, "USD") == of_all(COMPUTED, year)
    assert answered(years, year, "USD") == computed(years, year, "USD")
    close_inputs(years, days("2026-01-01"))
    settle(years, days("2025-12-01", "2025-12-31"))
    assert read(years, year, "USD") == of_all(READ, year)
    assert answered(years, year, "USD") == computed(years, year, "USD")
    # In another zone it is another year; its own row is no answer to it any more.
    years.execute("UPDATE analytics_companies SET time_zone = 'Europe/Berlin' WHERE company_id = 'nyc'")
    assert read(years, year, "USD") == of_all(COMPUTED, year)
    settle(years)
    year = [("nyc", local_window(years, first, last, "Europe/Berlin"))]
    assert read(years, year, "USD") == of_all(READ, year)
    assert answered(years, year, "USD") == computed(years, year, "USD")


def test_what_a_late_event_changes_is_computed_until_it_is_closed_again(years: Connection) -> None:
    of_2024 = BEFORE
    june_before = Window.of_month(date(2024, 6, 1))
    periods: list[CompanyWindow] = [
        (company, window) for company in ("acme", "umbra", None) for window in (of_2024, YEAR, june_before, JUNE, MARCH)
    ]
    as_it_was = answered(years, periods)
    add_event(years, "2024-06-20T10:00", value="1000")
    assert (read(years, periods), answered(years, periods)) == (of_all(READ, periods), as_it_was)
    refresh_day(years, days("2024-06-20"))
    # Of the year after only the period before it has changed: for all that a change says it is as it was.
    seen = {window: window not in (of_2024, june_before) for window in (of_2024, YEAR, june_before, JUNE, MARCH)}
    wanted = [company == "umbra" or seen[window] for company, window in periods]
    assert read(years, periods) == {"revenue": wanted, "movements": wanted}
    assert fetch_row(years, "SELECT count(*) FROM analytics_stale_metric_periods() WHERE granularity = 'year'") == (0,)
    closing = settle(years, june_before, MONEY)
    assert [each.years for each in closing] == [[date(2024, 1, 1), date(2025, 1, 1)]] * 2
    assert {(each.metric, each.window) for each in stale_periods(years) if each.metric != "user_metrics"} == {
        ("revenue_metrics", Window.of_month(date(2024, 7, 1))),
        ("mrr_movements", JUNE),
    }
    settle(years, Window.of_month(date(2024, 7, 1)), [REVENUE_METRICS])
    settle(years, JUNE, [MRR_MOVEMENTS])
    assert read(years, periods) == of_all(READ, periods)
    figures = answered(years, periods)
    assert figures == computed(years, periods)
    assert figures != as_it_was
    assert fetch_row(years, "SELECT count(*) FROM analytics_metric_changes WHERE granularity = 'year'") == (0,)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_whatever_happens_to_closed_years_what_is_read_is_what_computing_gives(years: Connection, seed: int) -> None:
    """Late events, changes of subscriptions, rates and companies, and parts of closing them again, in any order."""
    random = Random(seed)  # noqa: S311  # a test's
    periods: list[CompanyWindow] = [
        (company, window)
        for company in ("acme", "umbra", None)
        for window in (BEFORE, YEAR, *(Window.of_month(date(2025, n, 1)) for n in (2, 12)))
    ]
    touched: list[datetime] = []
    was_read = 0
    for _ in range(20):
        _disturb(years, random, touched)
        was_read += sum(read(years, periods)["movements"])
        assert answered(years, periods) == computed(years, periods), seed
    assert was_read
    for start in sorted(set(touched)):
        day = Window(start, start + timedelta(days=1))
        refresh_day(years, day)
        update_users(years, day)
        update_subscriptions(years, day)
    settle(years)
    assert read(years, periods) == of_all(READ, periods)
    assert answered(years, periods) == computed(years, periods), seed


def _disturb(connection: Connection, random: Random, touched: list[datetime]) -> None:
    day = SPAN.start + timedelta(days=random.randrange(730))
    when = f"{day:%Y-%m-%d}T{random.choice(['00:00', '12:00'])}"
    company = random.choice(["acme", "umbra"])
    user = random.choice(["u1", "u2", "u9", None])
    match random.randrange(8):
        case 0:
            add_event(connection, when, company_id=company, user_id=user, value=str(random.randrange(100)))
            touched.append(day)
        case 1 | 2:
            status = random.choice(["active", "active", "paused", "ended"])
            add_change(
                connection,
                when,
                company,
                random.choice(["s1", "s2", "s3"]),
                "ended" if status == "ended" else "changed",
                status,
                user=user,
                price=str(random.randrange(100)),
            )
            touched.append(day)
        case 3 if touched:
            day = random.choice(touched)
            update_subscriptions(connection, Window(day, day + timedelta(days=1)))
        case 4 if touched:
            day = random.choice(touched)
            refresh_day(connection, Window(day, day + timedelta(days=1)))
            update_users(connection, Window(day, day + timedelta(days=1)))
        case 5:
            # Of a day that is not closed: it may say whose a subscription has been.
            add_change(connection, "2026-01-07T12:00", company, random.choice(["s1", "s2", "s3"]), user=user)
            touched.append(at("2026-01-07"))
        case _:
            month = random.choice(list(SPAN.split(Granularity.MONTH)))
            settle(connection, month, random.choice([[REVENUE_METRICS], [MRR_MOVEMENTS], MONEY]))
