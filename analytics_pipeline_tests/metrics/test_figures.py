"""The SQL functions against figures worked out by hand, or counted from the raw events."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import combinations

import pytest

from analytics_pipeline.events.bulk_load import EventLoader
from analytics_pipeline.metrics.answers import revenue_answer, users_answer
from analytics_pipeline.metrics.revenue import CurrencyRevenue, revenue_by_currency, revenue_metrics
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.users import active_users, update_users
from analytics_pipeline.reports.load import load_report
from analytics_pipeline.reports.sections.companies import COMPANIES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close_inputs
from analytics_pipeline_tests.metrics.single_figures import active_and_new, new_users, users_by_month
from analytics_pipeline_tests.metrics.subscription_changes import a_change, as_events

QUARTER = Window.of_dates(date(2025, 1, 1), date(2025, 3, 31))


# On either side of an hour, a day and a month.
INSTANTS = (
    "2025-01-05T06:29:59.999999",
    "2025-01-05T06:30:00",
    "2025-01-05T07:00:00",
    "2025-01-06T00:00:00",
    "2025-01-31T23:59:59.999999",
)
BOUNDARIES = ("2025-01-05T06:00:00", "2025-01-05T08:00:00", "2025-01-05T00:00:00", "2025-02-01T00:00:00")


def test_payments_minus_refunds_each_on_its_own_date(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-31T23:59:59.999", value="400.00")
        add_event(connection, "2025-02-01T00:00", value="100.00")
        add_event(connection, "2025-02-10T12:00", "payment.refunded", value="-250.00")
        add_event(connection, "2025-02-10T12:00", "invoice.created", category="billing", value="999.00")
        add_event(connection, "2025-02-11T12:00", currency="USD", value="0.01")
        months = QUARTER.split(Granularity.MONTH)
        january, february, march = (revenue_by_currency(connection, None, month) for month in months)
        assert january == [CurrencyRevenue("EUR", Decimal("400.00"), Decimal(0), 1)]
        assert february == [
            CurrencyRevenue("EUR", Decimal("-150.00"), Decimal("250.00"), 2),
            CurrencyRevenue("USD", Decimal("0.01"), Decimal(0), 1),
        ]
        assert march == []
        totals = {row.currency: row.revenue for row in revenue_by_currency(connection, "acme", QUARTER)}
        assert totals == {"EUR": Decimal("250.00"), "USD": Decimal("0.01")}
        assert revenue_by_currency(connection, "beta", QUARTER) == []


def test_amounts_stay_exact_and_are_rounded_once_at_the_end(database: Database) -> None:
    third = "0.3333333333333333333333333333"
    with database.connect(autocommit=True) as connection:
        for _ in range(3):
            add_event(connection, "2025-01-05T12:00", value=third)
        (row,) = revenue_by_currency(connection, None, QUARTER)
        assert row.revenue == Decimal(third) * 3
        assert revenue_answer(connection, None, QUARTER, "EUR")["totalRevenue"] == Decimal("1.00")


def test_two_payments_alike_in_everything_but_their_id_both_count(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", value="5")
        add_event(connection, "2025-01-05T12:00", value="5")
        (row,) = revenue_by_currency(connection, None, QUARTER)
        assert (row.revenue, row.transactions) == (Decimal(10), 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("01-01", "03-31"),
        ("01-10", "03-10"),
        ("01-10", "01-12"),
        ("01-20", "02-03"),
        ("02-01", "02-28"),
        ("01-01", "01-15"),
    ],
)
def test_distinct_active_users_of_any_range_equal_a_count_over_the_events(
    database: Database, start: str, end: str
) -> None:
    window = Window.of_dates(date.fromisoformat(f"2025-{start}"), date.fromisoformat(f"2025-{end}"))
    with database.connect(autocommit=True) as connection:
        _add_activity(connection)
        counted = fetch_row(
            connection,
            "SELECT count(DISTINCT (company_id, user_id)) FROM analytics_events "
            "WHERE category IN ('revenue', 'user_activity', 'crypto') AND event_type <> 'user.deleted' "
            'AND user_id IS NOT NULL AND "timestamp" >= %s AND "timestamp" < %s',
            [window.start, window.end],
        )
        assert active_users(connection, None, window) == counted[0] > 0


def test_days_are_never_added_up_to_active_users(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for day in ("05", "06", "07"):
            add_event(connection, f"2025-01-{day}T12:00", user_id="u1")
        assert users_by_month(connection, QUARTER)[0].active_users == 1


def test_a_user_is_new_in_the_month_of_the_first_event_of_any_kind(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-20T12:00", "subscription.started", category="subscription", user_id="u1")
        add_event(connection, "2025-02-20T12:00", user_id="u1")
        add_event(connection, "2025-02-20T12:00", user_id="u1", company_id="beta")
        # In any order of windows, and twice.
        for month in (2, 1, 2):
            update_users(connection, Window.of_month(date(2025, month, 1)))
        assert active_and_new(connection, QUARTER) == [(0, 1), (2, 1), (0, 0)]
        assert new_users(connection, "acme", QUARTER) == 1


def test_users_are_remembered_after_their_events_have_expired(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        update_users(connection, QUARTER)
        connection.execute("SELECT drop_chunks('analytics_events', '2025-02-01'::timestamptz)")
        add_event(connection, "2025-03-05T12:00")
        update_users(connection, Window.of_month(date(2025, 3, 1)))
        assert [month.new_users for month in users_by_month(connection, QUARTER)] == [1, 0, 0]


def test_a_company_without_events_has_zeros_and_no_data_through(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        answer = revenue_answer(connection, "nobody", QUARTER, "EUR")
        assert (answer["totalRevenue"], answer["mrr"], answer["payingCustomers"]) == (0, 0, 0)
        assert (answer["averageRevenuePerUser"], answer["arpa"], answer["revenueGrowth"]) == (None, None, None)
        assert (answer["dataThrough"], answer["provisional"]) == (None, False)
        answer = users_answer(connection, "nobody", QUARTER)
        assert (answer["activeUsers"], answer["newUsers"]) == (0, 0)


def test_an_unfinished_period_is_as_of_the_newest_event(database: Database) -> None:
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    window = Window.of_dates(newest.date() - timedelta(days=1), newest.date() + timedelta(days=1))
    change = a_change("01-01", price="120", currency="USD")._replace(at=newest)
    with database.connect(autocommit=True) as connection:
        EventLoader(connection).load(as_events([change]))
        # The rate of a day to come is none yet.
        for day, rate in ((newest.date(), "1.20"), (newest.date() + timedelta(days=1), "2")):
            connection.execute("INSERT INTO analytics_fx_rates VALUES (%s, 'EUR', 'USD', %s, 'x')", [day, rate])
        answer = revenue_answer(connection, None, window, "EUR")
        assert (answer["mrr"], answer["mrrMovements"]["new"]) == (100, 100)
        assert answer["provisional"] is True
        assert answer["asOf"] == answer["dataThrough"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"
        to_come = Window.of_dates(window.last_day + timedelta(days=5), window.last_day + timedelta(days=9))
        answer = revenue_answer(connection, None, to_come, "EUR")
        assert (answer["mrrMovements"]["start"], answer["mrrMovements"]["fx"], answer["mrr"]) == (100, 0, 100)
        assert answer["unconverted"] == []


def _a_quiet_company(connection: Connection, newest: datetime, first: date) -> None:
    """A yearly subscription in dollars, and long after its last event another company's newest event of all."""
    at_start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    change = a_change("01-01", price="1200", currency="USD", interval="year")
    EventLoader(connection).load(as_events([change._replace(at=at_start - timedelta(days=100))]))
    add_event(connection, f"{newest:%Y-%m-%dT%H:%M:%S}", company_id="beta", currency="EUR", value="1")
    for day, rate in ((first - timedelta(days=100), "1.00"), (first - timedelta(days=2), "1.13"), (newest, "1.17")):
        connection.execute("INSERT INTO analytics_fx_rates VALUES (%s, 'EUR', 'USD', %s, 'x')", [day, Decimal(rate)])


@pytest.mark.slow
@pytest.mark.parametrize("closed", [False, True])
def test_a_quiet_company_s_open_period_is_as_of_the_newest_event_of_all(database: Database, closed: bool) -> None:  # noqa: FBT001
    newest = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=2)
    window = Window.of_dates(newest.date() - timedelta(days=26), newest.date() + timedelta(days=1))
    with database.connect(autocommit=True) as connection:
        _a_quiet_company(connection, newest, window.start.date())
        if closed:
            update_subscriptions(connection, Window(window.start - timedelta(days=200), window.start))
        for company in ("acme", None):
            answer = revenue_answer(connection, company, window, "EUR")
            assert (answer["mrr"], answer["mrrMovements"]["fx"]) == (Decimal("85.47"), Decimal("-3.03"))
            assert answer["mrrMovements"]["start"] == Decimal("88.50")
            assert answer["asOf"] == answer["dataThrough"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"
            assert (answer["provisional"], answer["unconverted"]) == (True, [])
        rows = connection.execute(
            "SELECT p.company_id, round(f.mrr, 2) "
            "FROM unnest(analytics_companies_of(%(start)s, %(end)s)) AS p (company_id) "
            "CROSS JOIN LATERAL analytics_revenue_figures("
            "ARRAY[ROW(p.company_id, %(start)s, %(end)s, 'EUR', NULL)::analytics_figure_period]) AS f WHERE f.mrr > 0",
            {"start": window.start, "end": window.end},
        ).fetchall()
        assert rows == [("acme", Decimal("85.47"))]
        (alone, everyone) = (load_report(connection, key, window, "EUR", [COMPANIES]) for key in ("acme", None))
        assert alone.as_of == everyone.as_of == alone.data_through == newest
        assert alone.movements == everyone.movements
        (quiet,) = [each for each in everyone[COMPANIES] if each.company_id == "acme"]
        assert quiet.revenue.figures.mrr == alone.revenue.figures.mrr


def test_a_period_that_began_after_the_newest_event_is_as_of_its_own_start(database: Database) -> None:
    """Nothing is known since then: neither a balance nor a rate of an earlier day may move it."""
    today = datetime.now(UTC).date()
    with database.connect(autocommit=True) as connection:
        newest = datetime(today.year, today.month, today.day, 12, tzinfo=UTC) - timedelta(days=5)
        _a_quiet_company(connection, newest, newest.date())
        connection.execute("UPDATE analytics_fx_rates SET rate = 1.25 WHERE rate_date = %s", [newest.date()])
        between = today - timedelta(days=3)
        connection.execute("INSERT INTO analytics_fx_rates VALUES (%s, 'EUR', 'USD', 2, 'x')", [between])
        answer = revenue_answer(connection, "acme", Window.of_dates(today - timedelta(days=1), today), "EUR")
        assert answer["asOf"] == f"{today - timedelta(days=1)}T00:00:00Z"
        assert answer["dataThrough"] == f"{newest:%Y-%m-%dT%H:%M:%SZ}"
        assert (answer["mrr"], answer["mrrMovements"]["start"], answer["mrrMovements"]["fx"]) == (50, 50, 0)


def test_an_event_at_midnight_is_the_first_of_its_day(database: Database) -> None:
    """The rate of an unfinished period is that of the day of dataThrough."""
    today = datetime.now(UTC).date()
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    change = a_change("01-01", price="120", currency="USD")._replace(at=midnight)
    with database.connect(autocommit=True) as connection:
        EventLoader(connection).load(as_events([change]))
        for day, rate in ((today - timedelta(days=1), "2"), (today, "1.20")):
            connection.execute("INSERT INTO analytics_fx_rates VALUES (%s, 'EUR', 'USD', %s, 'x')", [day, rate])
        answer = revenue_answer(connection, None, Window.of_dates(today - timedelta(days=1), today), "EUR")
        assert (answer["mrr"], answer["mrrMovements"]["new"], answer["mrrMovements"]["fx"]) == (100, 100, 0)


@pytest.mark.slow
def test_the_session_s_time_zone_changes_no_figure(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        _add_activity(connection)
        update_users(connection, QUARTER)
        utc = users_by_month(connection, QUARTER), active_users(connection, None, QUARTER)
        connection.execute("SET TIME ZONE 'America/New_York'")
        assert (users_by_month(connection, QUARTER), active_users(connection, None, QUARTER)) == utc


@pytest.mark.slow
@pytest.mark.parametrize("closed", [False, True])
def test_revenue_of_any_window_is_that_of_its_events(database: Database, closed: bool) -> None:  # noqa: FBT001
    with database.connect(autocommit=True) as connection:
        for instant in INSTANTS:
            add_event(connection, instant, value="1.01")
            add_event(connection, instant, "payment.refunded", value="-0.25")
            add_event(connection, instant, "invoice.created", category="billing", value="100")
        if closed:
            close_inputs(connection, QUARTER)
        for start, end in combinations(sorted({*INSTANTS, *BOUNDARIES}), 2):
            window = Window(at(start), at(end))
            counted = fetch_row(
                connection,
                "SELECT count(*) FILTER (WHERE category = 'revenue'), "
                "coalesce(sum(value) FILTER (WHERE category = 'revenue'), 0), "
                "coalesce(sum(value) FILTER (WHERE category = 'billing'), 0) "
                'FROM analytics_events WHERE "timestamp" >= %s AND "timestamp" < %s',
                [window.start, window.end],
            )
            rows = revenue_by_currency(connection, None, window)
            assert [(row.transactions, row.revenue) for row in rows] == ([counted[:2]] if counted[0] else []), window
            figures = revenue_metrics(connection, None, window, "EUR")
            assert (figures.total_revenue, figures.invoiced) == counted[1:], window
            assert figures.refunds == Decimal("0.25") * counted[0] / 2


def _add_activity(connection: Connection) -> None:
    for day in range(90):
        month, of_month = divmod(day, 30)
        for user in {day % 11, day * 3 % 17}:
            stamp = f"2025-{month + 1:02}-{min(of_month + 1, 28):02}T{user % 24:02}:30"
            category = ("revenue", "user_activity", "billing", "crypto")[user % 4]
            add_event(connection, stamp, f"feature.f{user}", category=category, user_id=f"u{user}")
    add_event(connection, "2025-01-11T12:00", "user.deleted", category="user_activity", user_id="gone")
