"""Metric tables hold each company's own local days and months, and the platform's over all as rows of their own."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from analytics_pipeline.metrics.local_dates import close_local_period, open_local_periods, read_local_dates
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric, stale_periods
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import call_refresh, refresh
from analytics_pipeline.timescale.refreshed_companies import RefreshedRows
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close_inputs, days

pytestmark = pytest.mark.slow

ZONES = {
    "akl": "Pacific/Auckland",
    "hnl": "Pacific/Honolulu",
    "ktm": "Asia/Kathmandu",
    "nyc": "America/New_York",
    "utc": "UTC",
}
MONTHS = days("2025-01-01", "2025-02-28")
# The last day of January and the first of February hold instants that are another date for most of them.
PAYMENTS = [
    ("2025-01-30T11:30", "1"),
    ("2025-01-31T04:59", "2"),
    ("2025-01-31T05:00", "4"),
    ("2025-01-31T10:59", "8"),
    ("2025-01-31T11:00", "16"),
    ("2025-01-31T18:14", "32"),
    ("2025-01-31T18:15", "64"),
    ("2025-01-31T23:30", "128"),
    ("2025-02-01T09:59", "256"),
    ("2025-02-01T10:00", "512"),
]

Revenue = dict[tuple[str | None, str, date], Decimal]


@pytest.fixture(scope="module")
def closed(shared: Connection) -> Connection:
    """Two closed months of five companies, each with the same payments, Auckland in dollars of New Zealand.

    Of the days only those around the end of January are.
    """
    for company, zone in ZONES.items():
        add_company(shared, company, zone, "NZD" if company == "akl" else None)
        for when, value in PAYMENTS:
            add_event(shared, when, company_id=company, value=value, user_id=f"u{value}")
    shared.execute(
        "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) "
        "SELECT d, 'EUR', 'NZD', 2, 'x' FROM generate_series('2024-12-25', '2025-02-28', interval '1 day') AS d"
    )
    close_inputs(shared, MONTHS)
    settle(shared)
    return shared


@pytest.fixture
def history(closed: Connection) -> Iterator[Connection]:
    """The same, with everything undone at the end."""
    with closed.transaction(force_rollback=True):
        yield closed


def settle(connection: Connection, time_zone: str = "UTC", first_day: str = "2025-01-29") -> None:
    """Compute the days and the months."""
    for table in METRIC_TABLES:
        close_metric(connection, table, Granularity.DAY, days(first_day, "2025-02-02"), "EUR", time_zone)
        close_metric(connection, table, Granularity.MONTH, MONTHS, "EUR", time_zone)


def add_company(connection: Connection, company: str, zone: str | None, currency: str | None = None) -> None:
    connection.execute(
        "INSERT INTO analytics_companies (company_id, time_zone, currency) VALUES (%s, %s, %s) "
        "ON CONFLICT (company_id) DO UPDATE SET time_zone = excluded.time_zone, currency = excluded.currency",
        [company, zone, currency],
    )


def counted(payments: dict[str, list[tuple[str, str]]], zones: dict[str, str]) -> Revenue:
    """Return the revenue by Python's zones, in the currency of each company; of all in EUR and UTC."""
    found: Revenue = defaultdict(Decimal)
    for company, listed in payments.items():
        for when, value in listed:
            instant = datetime.fromisoformat(when).replace(tzinfo=UTC)
            rate = 2 if company == "akl" else 1
            for whose, day, amount in (
                (company, instant.astimezone(ZoneInfo(zones[company])).date(), Decimal(value) * rate),
                (None, instant.date(), Decimal(value)),
            ):
                found[whose, "day", day] += amount
                found[whose, "month", day.replace(day=1)] += amount
    return dict(found)


def stored(connection: Connection) -> Revenue:
    rows = connection.execute(
        "SELECT company_id, granularity, period_date, total_revenue FROM analytics_revenue_metrics "
        "WHERE total_revenue <> 0"
    )
    return {(company, granularity, day): revenue for company, granularity, day, revenue in rows}


def stale(connection: Connection) -> set[tuple[str, str, str]]:
    """Return granularity, date and time zone of what has not seen a change."""
    rows = connection.execute(
        "SELECT DISTINCT granularity, to_char(period_date, 'MM-DD'), time_zone FROM analytics_stale_metric_periods() "
        "WHERE metric = 'revenue_metrics'"
    )
    return set(rows.fetchall())


def both(dates: set[tuple[str, str]]) -> set[tuple[str, str, str]]:
    """Return days of time zones and the months that hold them, as ``stale`` does."""
    days_stale = {("day", day, zone) for day, zone in dates}
    return days_stale | {("month", f"{day[:2]}-01", zone) for day, zone in dates}


def computed(connection: Connection) -> set[tuple[str | None, datetime]]:
    """Return of whom there are rows, and when they were computed."""
    return set(connection.execute("SELECT DISTINCT company_id, computed_at FROM analytics_revenue_metrics").fetchall())


def is_closed_for(connection: Connection, company: str | None, granularity: str, day: str) -> bool:
    query = "SELECT analytics_closed_for(%s, %s, %s)"
    return fetch_row(connection, query, [company, granularity, day]) == (True,)


def differing(connection: Connection) -> int:
    """Return how many stored rows are not what the definitions give now."""
    found = 0
    for table in METRIC_TABLES:
        for granularity, first, until in (("day", "2025-01-29", "2025-02-03"), ("month", "2025-01-01", "2025-03-01")):
            (rows,) = fetch_row(
                connection,
                f"SELECT count(*) FROM {table.rows_function}(%s, %s, %s, 'UTC', 'EUR', 2) AS f "
                f"FULL JOIN (SELECT * FROM {table.table} AS t WHERE t.granularity = %s) AS s "
                "ON coalesce(s.company_id, '') = coalesce(f.company_id, '') AND s.period_start = f.period_start "
                "WHERE to_jsonb(f) - 'definitions_version' "
                "IS DISTINCT FROM to_jsonb(s) - 'computed_at' - 'period_date' - 'definitions_version'",
                [granularity, first, until, granularity],
            )
            found += rows
    return found


def test_each_company_has_its_own_days_and_the_platform_rows_of_its_own(history: Connection) -> None:
    assert stored(history) == counted(dict.fromkeys(ZONES, PAYMENTS), ZONES)
    instants = history.execute(
        "SELECT company_id, period_start, period_end, currency, time_zone FROM analytics_revenue_metrics "
        "WHERE granularity = 'month' AND period_date = '2025-02-01' ORDER BY company_id"
    ).fetchall()
    for company, start, end, currency, zone in instants:
        local = ZoneInfo(ZONES.get(company, "UTC"))
        assert zone == str(local)
        assert (start, end) == (datetime(2025, 2, 1, tzinfo=local), datetime(2025, 3, 1, tzinfo=local))
        assert currency == ("NZD" if company == "akl" else "EUR")
    assert [row[0] for row in instants] == [*ZONES, None]
    assert stale(history) == set()
    assert differing(history) == 0
    # Whoever pays in January by UTC is counted once over all, whatever the companies' own months say.
    users = "SELECT active_users FROM analytics_user_metrics WHERE company_id IS NULL AND period_date = '2025-01-01'"
    assert history.execute(f"{users} AND granularity = 'month'").fetchone() == (8 * len(ZONES),)


def test_another_zone_of_a_company_marks_its_own_closed_periods_alone(history: Connection) -> None:
    before = computed(history)
    history.execute("UPDATE analytics_companies SET name = 'New York', locale = 'en_US' WHERE company_id = 'nyc'")
    history.execute("INSERT INTO analytics_companies (company_id, name) VALUES ('quiet', 'Quiet')")
    assert stale(history) == set(), "a name and a language change no figure"
    add_company(history, "nyc", "Pacific/Honolulu")
    marked = history.execute("SELECT DISTINCT companies FROM analytics_stale_metric_periods()").fetchall()
    assert marked == [(["nyc"],)]
    assert not is_closed_for(history, "nyc", "month", "2025-01-01")
    assert all(is_closed_for(history, company, "month", "2025-01-01") for company in ("akl", "hnl", "utc", None))
    settle(history)
    assert stale(history) == set()
    assert is_closed_for(history, "nyc", "month", "2025-01-01")
    zones = ZONES | {"nyc": "Pacific/Honolulu"}
    assert stored(history) == counted(dict.fromkeys(ZONES, PAYMENTS), zones)
    assert differing(history) == 0
    assert {company for company, when in computed(history) - before} == {"nyc"}


def test_another_currency_and_a_company_for_tests_change_what_they_concern(history: Connection) -> None:
    add_company(history, "akl", "Pacific/Auckland", "EUR")
    history.execute("UPDATE analytics_companies SET is_test = true WHERE company_id = 'utc'")
    marked = history.execute("SELECT DISTINCT time_zone, companies FROM analytics_stale_metric_periods()").fetchall()
    assert {zone for zone, _ in marked} == {"UTC"}, "of akl the partitions of the platform name what is to be done"
    settle(history)
    assert stale(history) == set()
    figures = "SELECT company_id, total_revenue, currency FROM analytics_revenue_metrics "
    of_january = f"{figures} WHERE granularity = 'month' AND period_date = '2025-01-01'"
    found = {company: (revenue, currency) for company, revenue, currency in history.execute(of_january)}
    assert found["akl"] == (15, "EUR")
    assert found[None] == (4 * 255, "EUR"), "without the company for tests"
    assert found["utc"] == (255, "EUR")


def test_another_calendar_of_the_platform_marks_it_and_who_follows_it(history: Connection) -> None:
    add_company(history, "nyc", None)
    settle(history)
    assert {p.causes for p in stale_periods(history, "EUR", "Europe/Berlin")} == {"time zone UTC"}
    settle(history, "Europe/Berlin")
    assert stale_periods(history, "EUR", "Europe/Berlin") == []
    revenue = stored(history)
    assert revenue["nyc", "month", date(2025, 2, 1)] == 128 + 256 + 512
    assert revenue["utc", "month", date(2025, 1, 1)] == 255, "its own zone is UTC"
    assert revenue[None, "month", date(2025, 2, 1)] == len(ZONES) * (128 + 256 + 512)


def test_a_companys_date_is_closed_as_soon_as_it_has_ended_there(closed: Connection) -> None:
    """By a clock that stands at noon of 31 January (UTC): Auckland is in February, nobody else is."""
    history = closed
    noon = datetime(2025, 1, 31, 12, tzinfo=UTC)
    for relation in ("analytics_metric_periods", *(table.table for table in METRIC_TABLES)):
        history.execute(f"DELETE FROM {relation} WHERE period_date >= '2025-01-31' OR granularity = 'month'")
    dates = read_local_dates(history, "UTC", noon)
    assert (dates.first_open, dates.newest) == (date(2025, 1, 31), date(2025, 2, 1))
    assert (dates.ahead, dates.behind) == (timedelta(hours=13), timedelta(hours=10))
    assert dates.ended(Granularity.MONTH) == datetime(2025, 1, 1, tzinfo=UTC)
    periods = open_local_periods(history, "UTC", "EUR", dates, noon)
    assert {str(period) for period in periods} == {
        *(f"{table.metric} 2025-01-31" for table in METRIC_TABLES),
        *(f"{table.metric}_monthly 2025-01-01" for table in METRIC_TABLES),
    }
    for period in periods:
        close_local_period(history, period, "UTC", "EUR", noon)
    assert open_local_periods(history, "UTC", "EUR", dates, noon) == []
    assert [company for company in (*ZONES, None) if is_closed_for(history, company, "month", "2025-01-01")] == ["akl"]
    assert stored(history)["akl", "month", date(2025, 1, 1)] == 2 * 15
    # What changes under it before the others have ended is seen, and it is closed again with them, or before.
    add_event(history, "2025-01-31T10:30", company_id="akl", value="1000")
    for aggregate in AGGREGATES:
        if aggregate.granularity is Granularity.HOUR:
            ten = datetime(2025, 1, 31, 10, tzinfo=UTC)
            refresh(history, aggregate, Window(ten, Granularity.HOUR.next(ten)))
    assert not is_closed_for(history, "akl", "month", "2025-01-01")
    assert open_local_periods(history, "UTC", "EUR", dates, noon) == periods
    history.execute("DELETE FROM analytics_events WHERE value = 1000")
    close_inputs(history, MONTHS)
    settle(history)
    assert stored(history) == counted(dict.fromkeys(ZONES, PAYMENTS), ZONES)
    assert stale(history) == set()


def test_behind_the_horizon_rows_keep_their_calendar_and_say_so(history: Connection) -> None:
    history.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-02-01T00:00Z')")
    add_company(history, "nyc", "Pacific/Honolulu")
    marked = {(granularity, day) for granularity, day, _ in stale(history)}
    assert ("day", "01-31") not in marked
    assert ("month", "01-01") not in marked
    assert {("day", "02-02"), ("month", "02-01")} <= marked
    settle(history, first_day="2025-02-01")
    zones = "SELECT granularity, period_date::text, time_zone FROM analytics_revenue_metrics WHERE company_id = 'nyc'"
    found = {(granularity, day): zone for granularity, day, zone in history.execute(zones)}
    assert found["month", "2025-01-01"] == "America/New_York"
    assert found["day", "2025-01-31"] == "America/New_York"
    assert found["month", "2025-02-01"] == found["day", "2025-02-02"] == "Pacific/Honolulu"
    assert not is_closed_for(history, "nyc", "month", "2025-01-01"), "that is another month than it is asked for"
    assert is_closed_for(history, "nyc", "month", "2025-02-01")
    assert stale(history) == set()


def test_who_lives_in_utc_needs_no_closing_before_all_others(history: Connection) -> None:
    history.execute("UPDATE analytics_companies SET time_zone = CASE WHEN company_id <> 'utc' THEN 'UTC' END")
    instant = datetime(2025, 2, 3, tzinfo=UTC)
    dates = read_local_dates(history, "UTC", instant)
    assert dates.is_utc
    assert open_local_periods(history, "UTC", "EUR", dates, instant) == []


def test_a_late_event_makes_exactly_the_local_days_and_months_stale_in_which_it_lies(closed: Connection) -> None:
    """The last one: it leaves its event there."""
    history = closed
    add_event(history, "2025-01-31T23:10", company_id="akl", value="1000")
    late = days("2025-01-31")
    for granularity in Granularity:
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity:
                refresh(history, aggregate, late.widen(granularity))
    assert stale(history) == both({("01-31", "UTC"), ("02-01", "Pacific/Auckland")})
    noted = "SELECT company_id, granularity FROM analytics_metric_changes ORDER BY 2"
    assert history.execute(noted).fetchall() == [("akl", "month"), ("akl", None)], "once, by whichever aggregate"
    assert is_closed_for(history, "akl", "day", "2025-01-31")
    assert is_closed_for(history, "akl", "month", "2025-01-31")
    assert not is_closed_for(history, "akl", "day", "2025-02-01")
    assert not is_closed_for(history, "akl", "month", "2025-02-01")
    assert not is_closed_for(history, None, "day", "2025-01-31")
    assert is_closed_for(history, None, "day", "2025-02-01")
    # Closed again, by the partitions of those dates, everything is as if it had come in time.
    close_inputs(history, MONTHS)
    settle(history)
    assert stale(history) == set()
    payments = dict.fromkeys(ZONES, PAYMENTS) | {"akl": [*PAYMENTS, ("2025-01-31T23:10", "1000")]}
    assert stored(history) == counted(payments, ZONES)
    assert differing(history) == 0


def refresh_all(connection: Connection) -> None:
    """Refresh the aggregates in the order of the jobs."""
    for granularity in Granularity:
        for aggregate in sorted(AGGREGATES, key=lambda each: each.name):
            if aggregate.granularity is granularity:
                refresh(connection, aggregate, MONTHS)
    assert fetch_row(connection, "SELECT count(*) FROM analytics_changed_hours") == (0,)


def see_all(connection: Connection) -> None:
    """Take all that was noted for seen, as if it had been computed."""
    connection.execute(
        "UPDATE analytics_metric_periods SET changes_seen = (SELECT max(change_id) FROM analytics_metric_changes)"
    )


OF_EVENT = 'WHERE company_id = %s AND "timestamp" = %s'
# The dates that hold minutes after 18:15 (UTC), and those that hold a part of the hour.
EVERYBODYS = both(
    {
        ("01-31", "UTC"),
        ("01-31", "America/New_York"),
        ("01-31", "Pacific/Honolulu"),
        ("02-01", "Asia/Kathmandu"),
        ("02-01", "Pacific/Auckland"),
    }
)
OF_THE_HOUR = EVERYBODYS | both({("01-31", "Asia/Kathmandu")})


def test_what_changes_in_several_companies_is_stale_for_each_in_its_own_dates_alone(closed: Connection) -> None:
    history = closed
    # Minutes after midnight in Kathmandu, which is within an hour (UTC).
    add_event(history, "2025-01-31T18:20", company_id="ktm", value="2000")
    add_event(history, "2025-01-31T18:25", "user.login", company_id="ktm", category="user_activity", value=None)
    # Another amount, and another person.
    history.execute(f"UPDATE analytics_events SET value = 99 {OF_EVENT}", ["nyc", "2025-01-31T05:00Z"])
    history.execute(f"UPDATE analytics_events SET user_id = 'u2' {OF_EVENT}", ["nyc", "2025-02-01T10:00Z"])
    # Gone, as the ERP source takes it back: it says of itself what it deletes.
    with history.transaction():
        history.execute("SELECT set_config('analytics.deletion_is_noted', 'on', true)")
        history.execute(f"DELETE FROM analytics_events {OF_EVENT}", ["hnl", "2025-02-01T09:59Z"])
    refresh_all(history)
    expected = both(
        {
            ("02-01", "Asia/Kathmandu"),
            ("01-31", "America/New_York"),
            ("02-01", "America/New_York"),
            ("01-31", "Pacific/Honolulu"),
            ("01-31", "UTC"),
            ("02-01", "UTC"),
        }
    )
    assert stale(history) == expected
    # Who has the calendar of the platform is computed again with it, and is closed all the while.
    assert not is_closed_for(history, None, "day", "2025-01-31")
    assert is_closed_for(history, "utc", "day", "2025-01-31")
    assert is_closed_for(history, "akl", "month", "2025-01-01")
    close_inputs(history, MONTHS)
    settle(history)
    assert stale(history) == set()
    assert differing(history) == 0


def test_an_event_that_becomes_another_companys_or_another_dates_is_stale_for_both(closed: Connection) -> None:
    history = closed
    history.execute(f"UPDATE analytics_events SET company_id = 'utc' {OF_EVENT}", ["akl", "2025-01-31T10:59Z"])
    # Within an hour, over midnight in Kathmandu.
    later = "UPDATE analytics_events SET \"timestamp\" = '2025-01-31T18:16Z'"
    history.execute(f"{later} {OF_EVENT}", ["ktm", "2025-01-31T18:14Z"])
    refresh_all(history)
    of_kathmandu = {("01-31", "Asia/Kathmandu"), ("02-01", "Asia/Kathmandu")}
    assert stale(history) == both({("01-31", "Pacific/Auckland"), ("01-31", "UTC"), *of_kathmandu})
    assert not is_closed_for(history, "utc", "day", "2025-01-31")
    see_all(history)


def test_a_changed_event_hides_no_other_change_of_its_hour(closed: Connection) -> None:
    history = closed
    history.execute(f"UPDATE analytics_events SET metadata = '{{\"a\": 1}}' {OF_EVENT}", ["ktm", "2025-01-31T18:15Z"])
    # Minutes before midnight there.
    add_event(history, "2025-01-31T18:05", company_id="ktm", value="64", user_id="u64")
    refresh_all(history)
    assert stale(history) == both({("01-31", "UTC"), ("01-31", "Asia/Kathmandu"), ("02-01", "Asia/Kathmandu")})
    see_all(history)


def test_where_no_row_says_of_whom_an_event_is_everybodys_dates_are_stale(closed: Connection) -> None:
    """A deletion and a new event, which add up to what there was, beside another company's."""
    history = closed
    history.execute(f"DELETE FROM analytics_events {OF_EVENT}", ["ktm", "2025-01-31T18:15Z"])
    add_event(history, "2025-01-31T18:40", company_id="ktm", value="64", user_id="u64")
    add_event(history, "2025-01-31T18:50", company_id="nyc", value="3", user_id="u64")
    refresh_all(history)
    assert stale(history) == EVERYBODYS
    see_all(history)


def test_what_a_killed_refresh_leaves_is_everybodys_and_is_not_lost(
    closed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = closed
    add_event(history, "2025-01-31T18:20", company_id="nyc", value="11", user_id="u4")

    def kill(_self: RefreshedRows) -> None:
        raise InterruptedError

    hours = [aggregate for aggregate in AGGREGATES if aggregate.granularity is Granularity.HOUR]
    with monkeypatch.context() as patched:
        patched.setattr(RefreshedRows, "settle", kill)
        for aggregate in hours:
            with pytest.raises(InterruptedError):
                refresh(history, aggregate, MONTHS)
    # The hours are as they should be: nothing but what was left says that days are not.
    local = OF_THE_HOUR - both({("01-31", "UTC")})
    assert stale(history) == local
    # Also where figures were computed before the hours were refreshed: that is seen when they are closed again.
    see_all(history)
    for aggregate in hours:
        refresh(history, aggregate, MONTHS)
    assert stale(history) == local
    # A further change of the same hour takes nothing of that away, nor from the days that are refreshed only now.
    add_event(history, "2025-01-31T18:30", company_id="nyc", value="13", user_id="u4")
    for aggregate in hours:
        refresh(history, aggregate, MONTHS)
    assert stale(history) == local
    see_all(history)
    refresh_all(history)
    assert stale(history) == OF_THE_HOUR
    see_all(history)


def test_what_somebody_else_has_refreshed_is_everybodys_by_whole_days(closed: Connection) -> None:
    history = closed
    add_event(history, "2025-01-31T12:30", company_id="nyc", value="17", user_id="u4")
    for aggregate in AGGREGATES:
        if aggregate.granularity is Granularity.HOUR:
            call_refresh(history, aggregate.name, MONTHS.start, MONTHS.end)
    refresh_all(history)
    behind = {(day, zone) for zone in ("America/New_York", "Pacific/Honolulu") for day in ("01-30", "01-31")}
    ahead = {(day, zone) for zone in ("Asia/Kathmandu", "Pacific/Auckland") for day in ("01-31", "02-01")}
    expected = both({("01-31", "UTC"), *behind, *ahead})
    assert stale(history) >= expected
    # Of the company a month names all days, since its users have changed.
    assert {zone for _, _, zone in stale(history) - expected} == {"America/New_York", "UTC"}
