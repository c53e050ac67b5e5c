"""Periods are those of the company's calendar: its days and months, its currency, the rates of its dates."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline import frames
from analytics_pipeline.cli import main
from analytics_pipeline.cli import metrics as metrics_command
from analytics_pipeline.companies.local_windows import local_date, local_window
from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.metrics.answers import (
    crypto_answer,
    revenue_answer,
    series_answer,
    top_events_answer,
    users_answer,
)
from analytics_pipeline.metrics.live_figures import live_answer
from analytics_pipeline.metrics.periods import previous_window
from analytics_pipeline.metrics.revenue import mrr_figures, revenue_figures
from analytics_pipeline.metrics.users import user_figures
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import HorizonError
from analytics_pipeline.windows import Granularity, LocalWindow, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.subscription_changes import a_change, as_events

JANUARY, FEBRUARY = days("2025-01-01", "2025-01-31"), days("2025-02-01", "2025-02-28")


@pytest.fixture
def berlin(database: Database) -> Iterator[Connection]:
    """A company in Berlin that reports in dollars, with a payment late in its 31 January, and one an hour later."""
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_companies (company_id, time_zone, currency) VALUES ('acme', 'Europe/Berlin', 'USD')"
        )
        for day, rate in (("2025-01-31", "1.1"), ("2025-02-01", "1.3")):
            connection.execute("INSERT INTO analytics_fx_rates VALUES (%s, 'EUR', 'USD', %s, 'x')", [day, rate])
        add_event(connection, "2025-01-31T22:59:59", value="10")
        add_event(connection, "2025-01-31T23:00", value="20", user_id="u2")
        yield connection


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["metrics", *arguments])


def answer(*arguments: str) -> Any:
    result = ask(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def window(connection: Connection, first: str, last: str, zone: str) -> Window:
    return local_window(connection, date.fromisoformat(first), date.fromisoformat(last), zone)


def test_a_month_is_that_of_the_company_in_its_currency_at_the_rates_of_its_dates(berlin: Connection) -> None:
    months = [answer("revenue", "--company", "acme", "--month", month) for month in ("2025-01", "2025-02")]
    assert [(each["totalRevenue"], each["currency"], each["timeZone"]) for each in months] == [
        ("11.00", "USD", "Europe/Berlin"),
        ("26.00", "USD", "Europe/Berlin"),
    ]
    assert (months[1]["startDate"], months[1]["endDate"]) == ("2025-02-01", "2025-02-28")
    users = [answer("users", "--company", "acme", "--month", month)["newUsers"] for month in ("2025-01", "2025-02")]
    assert users == [1, 1]
    of_all = answer("revenue", "--month", "2025-01")
    assert (of_all["totalRevenue"], of_all["currency"], of_all["timeZone"]) == ("30.00", "EUR", "UTC")


@pytest.mark.slow
def test_another_time_zone_and_currency_can_be_asked_for(berlin: Connection) -> None:
    instant = datetime.fromisoformat("2025-02-01T00:30+01:00")
    assert [local_date(berlin, instant, zone).day for zone in ("UTC", "Europe/Berlin")] == [31, 1]
    chosen = ["--company", "acme", "--month", "2025-01", "--currency", "EUR", "--time-zone"]
    zones = ("utc", "Europe/Berlin", "asia/tokyo")
    found = [answer("revenue", *chosen, zone) for zone in zones]
    assert [(each["timeZone"], each["totalRevenue"]) for each in found] == [
        ("UTC", "30.00"),
        ("Europe/Berlin", "10.00"),
        ("Asia/Tokyo", "0.00"),
    ]
    assert "2025-01-01 to 2025-01-31 (Asia/Tokyo)" in ask("revenue", *chosen, "Asia/Tokyo").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--time-zone", "Europe/Berln"), "no time zone 'Europe/Berln'"),
        (("--time-zone", "Pacific/Apia", "--start", "2011-12-30", "--end", "2011-12-30"), "no 2011-12-30"),
    ],
)
def test_what_is_no_zone_and_what_is_no_day_of_one_is_one_clear_line(
    database: Database, arguments: tuple[str, ...], said: str
) -> None:
    result = ask("revenue", *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_current_month_and_today_are_those_of_the_company(
    berlin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_command, "database_now", lambda _: datetime(2025, 1, 31, 23, 30, tzinfo=UTC))
    assert answer("revenue", "--company", "acme")["startDate"] == "2025-02-01"
    assert answer("revenue")["startDate"] == "2025-01-01"
    # Somewhere it is another day than in UTC at any time.
    (ahead, behind) = (live_answer(berlin, "acme", "EUR", zone) for zone in ("Pacific/Kiritimati", "Pacific/Niue"))
    assert ahead["today"]["date"] > behind["today"]["date"]
    assert (ahead["revenue"]["timeZone"], ahead["users"]["timeZone"]) == ("Pacific/Kiritimati", "Pacific/Kiritimati")


@pytest.mark.slow
def test_the_hours_days_and_months_of_a_series_say_their_instants(shared: Connection) -> None:
    autumn = window(shared, "2024-11-03", "2024-11-03", "America/New_York")
    hours = series_answer(shared, None, autumn, "EUR", Granularity.HOUR)["series"]
    assert len(hours) == 25
    assert (hours[0]["start"], hours[-1]["endsAt"]) == ("2024-11-03T04:00Z", "2024-11-04T05:00:00Z")
    howe = window(shared, "2024-10-01", "2024-10-31", "Australia/Lord_Howe")
    of_days = series_answer(shared, None, howe, "EUR", Granularity.DAY)["series"]
    spring = next(day for day in of_days if day["start"] == "2024-10-06")
    assert (spring["startsAt"], spring["endsAt"]) == ("2024-10-05T13:30:00Z", "2024-10-06T13:00:00Z")
    assert len(frames.series(shared, None, howe, Granularity.DAY, "EUR")) == 31
    months = series_answer(
        shared, None, window(shared, "2024-09-01", "2024-10-31", howe.time_zone), "EUR", Granularity.MONTH
    )
    assert [month["start"] for month in months["series"]] == ["2024-09", "2024-10"]
    apia = window(shared, "2011-12-29", "2011-12-31", "Pacific/Apia")
    skipped = series_answer(shared, None, apia, "EUR", Granularity.DAY)["series"]
    assert [day["start"] for day in skipped] == ["2011-12-29", "2011-12-31"]
    assert skipped[0]["endsAt"] == skipped[1]["startsAt"]


@pytest.mark.parametrize(
    ("asked", "compared"),
    [
        (("2011-12-29", "2011-12-29"), ("2011-12-28", "2011-12-28")),
        (("2011-12-20", "2011-12-30"), ("2011-12-10", "2011-12-19")),
        (("2011-12-31", "2011-12-31"), ("2011-12-29", "2011-12-29")),
        (("2011-12-30", "2012-01-01"), ("2011-12-28", "2011-12-29")),
        (("2011-12-29", "2012-01-01"), ("2011-12-26", "2011-12-28")),
        (("2012-01-03", "2012-01-06"), ("2011-12-29", "2012-01-02")),
        (("2011-12-01", "2011-12-31"), ("2011-11-01", "2011-11-30")),
    ],
)
def test_days_are_compared_with_as_many_without_one_that_the_zone_skipped(
    shared: Connection, asked: tuple[str, str], compared: tuple[str, str]
) -> None:
    before = previous_window(shared, window(shared, *asked, "Pacific/Apia"))
    wanted = window(shared, *compared, "Pacific/Apia")
    assert (before.start, before.end) == (wanted.start, wanted.end)


@pytest.mark.slow
def test_a_local_month_is_compared_with_the_month_and_the_year_before(connection: Connection) -> None:
    life = [
        a_change("01-05", price="100"),
        a_change("01-06", price="50", name="s2", user="u2"),
        # 1 March in Berlin.
        a_change("02-28T23:30", "ended", "ended", price="50", name="s2", user="u2"),
    ]
    EventLoader(connection).load(as_events(life))
    for when, value in (("2024-03-31T21:59:59", "50"), ("2025-02-28T22:30", "200"), ("2025-03-31T21:59", "300")):
        add_event(connection, when, value=value)
    march = window(connection, "2025-03-01", "2025-03-31", "Europe/Berlin")
    found = revenue_answer(connection, "acme", march, "EUR")
    assert (found["totalRevenue"], found["revenueGrowth"], found["totalRevenueYearOverYear"]) == (300, 50, 500)
    assert (found["customerChurnRate"], found["lifetimeValue"]) == (Decimal("50.0"), Decimal("200.00"))
    assert revenue_answer(connection, "acme", days("2025-03-01", "2025-03-31"), "EUR")["lifetimeValue"] is None


@pytest.mark.slow
def test_test_companies_are_in_no_figure_over_all_and_answer_by_name(connection: Connection) -> None:
    connection.execute("INSERT INTO analytics_companies (company_id, is_test) VALUES ('trial', true)")
    connection.execute("INSERT INTO analytics_fx_rates VALUES ('2025-01-10', 'BTC', 'EUR', 2, 'x')")
    for company in ("acme", "trial"):
        add_event(connection, "2025-01-10", company_id=company, user_id=f"{company} user")
        add_event(
            connection,
            "2025-01-10",
            "crypto.received",
            category="crypto",
            company_id=company,
            value="3",
            currency="BTC",
        )
        change = as_events([a_change("01-05", user=None, name=f"s {company}")])[0]
        number = 1 if company == "acme" else 2
        EventLoader(connection).load([replace_company(change, company, number)])

    def figures(company: str | None, zone: str) -> tuple[object, ...]:
        january = window(connection, "2025-01-01", "2025-01-31", zone)
        revenue = revenue_answer(connection, company, january, "EUR")
        return (
            revenue["totalRevenue"],
            revenue["mrr"],
            revenue["mrrMovements"]["new"],
            users_answer(connection, company, january)["activeUsers"],
            users_answer(connection, company, january)["totalUsers"],
            crypto_answer(connection, company, january, "EUR")["assets"][0]["receivedValue"],
            sum(row["events"] for row in top_events_answer(connection, company, january, 9)["topEvents"]),
        )

    for zone in ("UTC", "Asia/Kathmandu"):
        assert figures(None, zone) == figures("acme", zone) == figures("trial", zone) == (10, 30, 30, 2, 2, 6, 3)
    connection.execute("UPDATE analytics_companies SET is_test = false")
    assert figures(None, "UTC") == (20, 60, 60, 4, 4, 12, 6)


def replace_company(event: Any, company: str, number: int) -> Any:
    return event._replace(company_id=company, event_id=type(event.event_id)(int=number))


@pytest.mark.slow
def test_a_zone_without_an_offset_has_the_figures_of_utc_to_the_last_digit(rates: Connection) -> None:
    rates.execute("DELETE FROM analytics_events")
    for day in range(8, 28):
        add_event(
            rates, f"2025-01-{day:02}T23:59:59", value=f"{day}.333333333333333333", currency="USD", user_id=f"u{day}"
        )
        add_event(rates, f"2025-01-{day:02}", "invoice.created", category="billing", value="7.77", currency="GBP")
    life = [
        a_change(f"01-{day:02}", name=f"s{day}", user=f"u{day}", price="9.99", currency="USD") for day in range(11, 20)
    ]
    EventLoader(rates).load(as_events(life))
    for asked in (JANUARY, FEBRUARY, days("2025-01-10", "2025-01-20")):
        abidjan = LocalWindow(asked.start, asked.end, "Africa/Abidjan", (asked.first_day, asked.last_day))
        for currency in ("EUR", "USD"):
            assert revenue_figures(rates, [("acme", abidjan)], currency) == revenue_figures(
                rates, [("acme", asked)], currency
            )
            assert mrr_figures(rates, [("acme", abidjan)], currency) == mrr_figures(rates, [("acme", asked)], currency)
        assert users_answer(rates, "acme", abidjan) == users_answer(rates, "acme", asked) | {
            "timeZone": "Africa/Abidjan"
        }


@pytest.mark.slow
def test_what_local_months_need_of_expired_events_is_unknown_and_said(connection: Connection) -> None:
    """Days and hours of UTC, and each user's first and last instant of a month, outlive the events; no more does."""
    for when in ("2024-12-31T12:00", "2025-01-31T12:00", "2025-02-28T12:00"):
        add_event(connection, when, user_id=f"u {when}")
    # In the hour in which February begins in Kathmandu, and late on 31 January in New York.
    add_event(connection, "2025-01-31T18:20", user_id=None, value="1")
    add_event(connection, "2025-02-01T00:00", user_id="late", value="5")
    add_event(connection, "2025-02-01T00:00", "invoice.created", category="billing", user_id=None, value="7")
    close_inputs(connection, days("2024-12-01", "2025-03-31"))
    zones = ("America/New_York", "Asia/Kathmandu")
    new_york, kathmandu = (window(connection, "2025-02-01", "2025-02-28", zone) for zone in zones)
    before = revenue_answer(connection, "acme", new_york, "EUR")
    assert (before["totalRevenue"], before["invoiced"], before["revenueGrowth"]) == (10, 0, Decimal("-37.5"))
    users = users_answer(connection, "acme", new_york)
    assert (users["activeUsers"], users["activeBefore"], users["newUsers"]) == (1, 2, 1)

    connection.execute("SELECT drop_chunks('analytics_events', '2025-03-01'::timestamptz)")
    add_event(connection, "2025-03-20T12:00")
    found = revenue_answer(connection, "acme", new_york, "EUR")
    assert found["invoiced"] is None
    shown = ("totalRevenue", "refunds", "revenueGrowth", "mrr", "totalUsers")
    assert {name: found.get(name) for name in shown} == {name: before.get(name) for name in shown}
    assert users_answer(connection, "acme", new_york)["activeUsers"] == 1
    # Nothing was invoiced on the days that it cuts.
    march = window(connection, "2025-03-01", "2025-03-31", zones[0])
    assert revenue_answer(connection, "acme", march, "EUR")["invoiced"] == 0
    with pytest.raises(HorizonError, match="Asia/Kathmandu cuts hours"):
        revenue_answer(connection, "acme", window(connection, "2025-02-01", "2025-02-01", zones[1]), "EUR")
    with pytest.raises(HorizonError, match="America/New_York are read from the events"):
        crypto_answer(connection, "acme", new_york, "EUR")
    with pytest.raises(HorizonError, match="whole months of UTC"):
        users_answer(connection, "acme", window(connection, "2025-02-03", "2025-02-05", zones[0]))
    assert users_answer(connection, "acme", kathmandu)["activeBefore"] >= 1


@pytest.mark.slow
def test_users_of_a_local_month_inside_one_of_utc_are_counted_over_its_events(connection: Connection) -> None:
    """Samoa skipped 30 December 2011: its December is 1 December, 10:00 UTC, to 31 December, 10:00 UTC."""
    before, first, last, after = "2011-12-01T09:59", "2011-12-01T10:00", "2011-12-31T09:59", "2011-12-31T10:00"
    active = {"u1": (before, after), "u2": (before, first, after), "u3": (before, last), "u4": (first, last)}
    for user, instants in active.items():
        for instant in instants:
            add_event(connection, instant, user_id=user)
    dates = [("11-01", "11-30"), ("12-01", "12-31"), ("12-01", "12-20"), ("11-15", "12-31")]
    windows = [window(connection, f"2011-{start}", f"2011-{end}", "Pacific/Apia") for start, end in dates]
    windows.append(window(connection, "2012-01-01", "2012-01-31", "Pacific/Apia"))
    windows.append(window(connection, "2011-12-01", "2012-01-31", "Pacific/Apia"))

    def found() -> list[tuple[int | None, ...]]:
        figures = user_figures(connection, [("acme", asked) for asked in windows])
        return [(each.metrics.active_users, each.metrics.active_before, each.metrics.churned_users) for each in figures]

    due = [(3, 0, 0), (3, 3, 1), (2, 3, 2), (4, 0, 0), (2, 3, 2), (4, 3, 0)]
    assert found() == due
    close_inputs(connection, days("2011-11-01", "2012-02-29"))
    assert found() == due

    connection.execute("SELECT drop_chunks('analytics_events', '2012-03-01'::timestamptz)")
    add_event(connection, "2012-03-20T12:00")
    # Whoever was active on both sides of December may have been active in it: it is unknown, and nothing else is.
    assert found() == [
        (3, 0, 0), (None, 3, None), (None, None, None), (None, None, None), (2, None, None), (4, 3, 0)
    ]  # fmt: skip
    with pytest.raises(HorizonError, match="not of Pacific/Apia"):
        users_answer(connection, "acme", windows[1])
