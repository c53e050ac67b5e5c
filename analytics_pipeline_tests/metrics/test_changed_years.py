"""Closed years that have changed: what is read of them is what computing them gives, at every moment."""

from datetime import date, datetime, timedelta
from random import Random

import pytest

from analytics_pipeline.companies.local_windows import local_window
from analytics_pipeline.fx.csv_rates import read_rates
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.metrics.periods import CompanyWindow
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import MRR_MOVEMENTS, REVENUE_METRICS, stale_periods
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.subscription_changes import EXAMPLES
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
    # What is compared with it is no more what it was, either: the year after, and of movements the June of that.
    changed = {"revenue": (BEFORE, june_before, YEAR), "movements": (BEFORE, june_before, YEAR, JUNE)}
    assert read(years, periods) == {
        figures: [company == "umbra" or window not in windows for company, window in periods]
        for figures, windows in changed.items()
    }
    assert answered(years, periods) == computed(years, periods)
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


@pytest.mark.parametrize("seed", range(EXAMPLES))
def test_whatever_happens_to_closed_years_what_is_read_is_what_computing_gives(years: Connection, seed: int) -> None:
    """Late, changed and deleted events, rates and companies' settings, and parts of closing again, in any order."""
    random = Random(seed)  # noqa: S311  # a test's
    spans = [(date(2024, 1, 1), date(2024, 12, 31)), (YEAR.first_day, YEAR.last_day)]
    spans += [(date(2025, 2, 1), date(2025, 2, 28)), (date(2025, 12, 1), date(2025, 12, 31))]
    periods: list[CompanyWindow] = [
        *((company, Window.of_dates(*span)) for company in ("acme", "umbra", None) for span in spans),
        *(("nyc", local_window(years, *span, "America/New_York")) for span in spans),
    ]
    touched: set[datetime] = set()
    was_read = 0
    for _ in range(20):
        happening = random.choice(HAPPENINGS)
        happening(years, random, touched)
        for currency in ("EUR", "USD"):
            was_read += sum(read(years, periods, currency)["movements"])
            assert answered(years, periods, currency) == computed(years, periods, currency), seed
    assert was_read
    for start in sorted(touched):
        day = Window(start, start + timedelta(days=1))
        refresh_day(years, day)
        update_users(years, day)
        update_subscriptions(years, day)
    settle(years)
    assert [closed.years for closed in settle(years)] == [[], [], []], "nothing is left to be closed"
    everybody = [(company, window) for company, window in periods if company != "nyc"]
    # Nobody may be left who pays.
    assert read(years, everybody)["revenue"] == of_all(READ, everybody)["revenue"]
    for currency in ("EUR", "USD"):
        assert answered(years, periods, currency) == computed(years, periods, currency), seed


def _some_day(random: Random, touched: set[datetime]) -> datetime:
    """Return a day that is closed, seldom one after them: that may say whose a subscription has been."""
    day = at("2026-01-07") if random.random() < 0.1 else SPAN.start + timedelta(days=random.randrange(730))
    touched.add(day)
    return day


def _add(connection: Connection, random: Random, touched: set[datetime]) -> None:
    event_type, category = random.choice(
        [
            ("payment.received", "revenue"),
            ("invoice.created", "billing"),
            ("user.login", "user_activity"),
            ("user.deleted", "user_activity"),
        ]
    )
    has_value = category != "user_activity"
    add_event(
        connection,
        f"{_some_day(random, touched):%Y-%m-%d}T{random.choice(['00:00', '04:30', '12:00'])}",
        event_type,
        category=category,
        company_id=random.choice(["acme", "umbra", "nyc"]),
        user_id=random.choice(["u1", "u2", "u9"]),
        value=str(random.randrange(100)) if has_value else None,
        currency=random.choice(["EUR", "USD"]) if has_value else None,
    )


def _subscribe(connection: Connection, random: Random, touched: set[datetime]) -> None:
    status = random.choice(["active", "active", "paused", "ended"])
    add_change(
        connection,
        f"{_some_day(random, touched):%Y-%m-%d}T{random.choice(['00:00', '12:00'])}",
        random.choice(["acme", "umbra", "nyc"]),
        random.choice(["s1", "s2", "s3"]),
        "ended" if status == "ended" else "changed",
        status,
        user=random.choice(["u1", "u2", "u9", None]),
        price=str(random.randrange(100)),
    )


def _undo(connection: Connection, random: Random, touched: set[datetime]) -> None:
    """Change the value of an event, or delete it."""
    events = 'SELECT event_id, "timestamp" FROM analytics_events WHERE value IS NOT NULL ORDER BY "timestamp", event_id'
    event_id, when = random.choice(connection.execute(events).fetchall())
    touched.add(Granularity.DAY.floor(when))
    if random.random() < 0.5:
        connection.execute("UPDATE analytics_events SET value = value + 1 WHERE event_id = %s", [event_id])
    else:
        connection.execute("DELETE FROM analytics_events WHERE event_id = %s", [event_id])


def _rate(connection: Connection, random: Random, _: set[datetime]) -> None:
    day = SPAN.start + timedelta(days=random.randrange(730))
    rate = f"rate_date,base,quote,rate\n{day:%Y-%m-%d},EUR,USD,1.{random.randrange(10, 99)}\n"
    store_rates(connection, [read_rates(rate.encode(), "rates.csv")])


def _set_company(connection: Connection, random: Random, _: set[datetime]) -> None:
    connection.execute(
        "INSERT INTO analytics_companies (company_id, is_test) VALUES ('umbra', %(is_test)s) "
        "ON CONFLICT (company_id) DO UPDATE SET is_test = excluded.is_test",
        {"is_test": random.random() < 0.5},
    )
    zone = random.choice(["America/New_York", "America/New_York", "Asia/Tokyo", "UTC"])
    connection.execute("UPDATE analytics_companies SET time_zone = %s WHERE company_id = 'nyc'", [zone])


def _take_in(connection: Connection, random: Random, touched: set[datetime]) -> None:
    """Take what has changed in a day into some of the tables."""
    if touched:
        day = random.choice(sorted(touched))
        window = Window(day, day + timedelta(days=1))
        for take in random.sample([refresh_day, update_users, update_subscriptions], random.randint(1, 3)):
            take(connection, window)


def _close(connection: Connection, random: Random, _: set[datetime]) -> None:
    month = random.choice(list(SPAN.split(Granularity.MONTH)))
    settle(connection, month, random.choice([[REVENUE_METRICS], [MRR_MOVEMENTS], MONEY]))


HAPPENINGS = [_add, _add, _subscribe, _subscribe, _undo, _rate, _set_company, _take_in, _close, _close, _close]
