from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.figures import reconciles_with_events
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, aggregate_at_once
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.policies import change_policies
from analytics_pipeline.timescale.reconcile import reconcile
from analytics_pipeline.timescale.refresh import HorizonError, materialized_tables, refresh, retention_horizon
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event, at

BY_NAME = {a.name: a for a in AGGREGATES}
HOURLY = BY_NAME["analytics_revenue_hourly"]
DAILY = BY_NAME["analytics_revenue_daily"]
MONTHLY = BY_NAME["analytics_revenue_monthly"]
MARCH = Window.of_month(date(2025, 3, 1))


def _close_all(connection: Connection, window: Window) -> None:
    for granularity in Granularity:
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity:
                refresh(connection, aggregate, window)


def test_exactly_the_window_is_stored_and_nothing_beside_it(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for hour in ("05T09:59:59", "05T10:00:00", "05T10:59:59.999999", "05T11:00:00"):
            add_event(connection, f"2025-03-{hour}")
        result = refresh(connection, HOURLY, Window(at("2025-03-05T10:00"), at("2025-03-05T11:00")))
        assert [(b.start, b.rows, b.events) for b in result.buckets] == [(at("2025-03-05T10:00"), 1, 2)]
        stored = _stored(connection, HOURLY)
        assert stored == [at("2025-03-05T10:00")]


@pytest.mark.slow
def test_a_closed_hierarchy_equals_the_events_in_every_aggregate(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        _add_a_bit_of_everything(connection)
        _close_all(connection, MARCH)
        results = {a.name: reconcile(connection, a, MARCH) for a in AGGREGATES}
        assert [name for name, result in results.items() if not result.agrees] == []
        assert all(result.stored_rows for result in results.values())


@pytest.mark.slow
def test_a_late_event_makes_its_partitions_stale_all_the_way_up_and_closing_them_fixes_it(
    database: Database,
) -> None:
    with database.connect(autocommit=True) as connection:
        _add_a_bit_of_everything(connection)
        _close_all(connection, MARCH)
        assert stale_ranges(connection, MARCH) == []
        add_event(connection, "2025-03-20T07:30", value="5.00")
        stale = {r.aggregate for r in stale_ranges(connection, MARCH)}
        assert stale == BY_NAME.keys()
        assert not reconcile(connection, MONTHLY, MARCH).agrees
        hour = Window(at("2025-03-20T07:00"), at("2025-03-20T08:00"))
        result = refresh(connection, HOURLY, hour)
        assert [(r.first, r.last) for r in result.invalidated] == [(at("2025-03-20T07:30"), at("2025-03-20T07:30"))]
        refresh(connection, DAILY, Window.of_dates(date(2025, 3, 20), date(2025, 3, 20)))
        refresh(connection, MONTHLY, MARCH)
        assert reconcile(connection, MONTHLY, MARCH).agrees


@pytest.mark.slow
def test_an_empty_stretch_longer_than_a_chunk_is_closed_with_the_rest(database: Database) -> None:
    january = Window.of_month(date(2025, 1, 1))
    with database.connect(autocommit=True) as connection:
        for day in (3, 4, 5, 20):
            add_event(connection, f"2025-01-{day:02}T12:00")
        # No event from the 6th to the 19th: the chunk of 9 to 16 January doesn't exist.
        _close_all(connection, january)
        assert stale_ranges(connection, january) == []
        assert {a.name: reconcile(connection, a, january).agrees for a in AGGREGATES} == dict.fromkeys(BY_NAME, True)
        assert refresh(connection, HOURLY, january).unchanged


@pytest.mark.slow
def test_the_statement_that_forces_a_refresh_removes_rows_where_no_event_is(database: Database) -> None:
    """The remedy of ``reconciles_with_events``, in a stretch of which a part has no chunk."""
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-03-05T10:00")
        add_event(connection, "2025-03-26T10:00")
        refresh(connection, HOURLY, MARCH)
        table = materialized_tables(connection)[HOURLY.name].identifier.as_string(connection)
        connection.execute(
            f"INSERT INTO {table} (bucket, company_id, currency, total_value, event_count) "
            "VALUES ('2025-03-04 10:00+00', 'acme', 'EUR', 1, 1), ('2025-03-18 10:00+00', 'acme', 'EUR', 1, 1)"
        )
        finding = reconciles_with_events(connection, database.settings, HOURLY, MARCH)
        assert not finding.passed
        connection.execute(finding.remedies[1])
        assert reconciles_with_events(connection, database.settings, HOURLY, MARCH).passed


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        # Whole batches of a company go without being read, from TimescaleDB 2.25 on under aggregates too.
        "DELETE FROM analytics_events WHERE company_id = 'acme'",
        """DELETE FROM analytics_events WHERE company_id = 'acme' AND "timestamp" >= '2025-03-06 00:00Z'""",
        """DELETE FROM analytics_events WHERE "timestamp" = '2025-03-06 12:00Z'""",
        """UPDATE analytics_events SET value = 1 WHERE company_id = 'acme' AND "timestamp" = '2025-03-06 12:00Z'""",
    ],
)
def test_a_change_in_a_compressed_chunk_makes_its_partitions_stale(database: Database, statement: str) -> None:
    with database.connect(autocommit=True) as connection:
        for company in ("acme", "beta"):
            for hour in range(48):
                add_event(connection, f"2025-03-{6 + hour // 24:02}T{hour % 24:02}:00", company_id=company)
        _close_all(connection, MARCH)
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c")
        assert stale_ranges(connection, MARCH) == []
        changed = connection.execute(statement).rowcount
        assert changed > 0
        assert {r.aggregate for r in stale_ranges(connection, MARCH)} == BY_NAME.keys()
        _close_all(connection, MARCH)
        assert stale_ranges(connection, MARCH) == []
        assert {a.name: reconcile(connection, a, MARCH).agrees for a in AGGREGATES} == dict.fromkeys(BY_NAME, True)


@pytest.mark.slow
def test_a_refresh_with_nothing_to_do_says_so(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-03-05T10:00")
        assert not refresh(connection, HOURLY, MARCH).unchanged
        assert refresh(connection, HOURLY, MARCH).unchanged


@pytest.mark.slow
def test_a_window_that_begins_before_the_dropped_events_is_refused_and_history_stays(
    database: Database,
) -> None:
    with database.connect(autocommit=True) as connection:
        _add_a_bit_of_everything(connection)
        _close_all(connection, MARCH)
        before = _rows(connection, MONTHLY)
        connection.execute("SELECT drop_chunks('analytics_events', '2025-03-13'::timestamptz)")
        assert retention_horizon(connection) == at("2025-03-13T00:00")
        with pytest.raises(
            HorizonError, match=r"raw events before 2025-03-13 00:00 UTC .* 2025-04-01 00:00 UTC or later"
        ):
            refresh(connection, MONTHLY, MARCH)
        with pytest.raises(HorizonError):
            refresh(connection, HOURLY, Window(at("2025-03-12T23:00"), at("2025-03-13T01:00")))
        assert _rows(connection, MONTHLY) == before
        refresh(connection, HOURLY, Window(at("2025-03-13T00:00"), at("2025-03-14T00:00")))


@pytest.mark.slow
def test_a_late_event_that_creates_a_dropped_chunk_anew_does_not_open_the_lost_range_again(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for day in (5, 12, 19, 26):
            add_event(connection, f"2025-03-{day:02}T12:00")
        _close_all(connection, MARCH)
        connection.execute("SELECT drop_chunks('analytics_events', '2025-03-20'::timestamptz)")
        # Seen by nobody yet: the chunk of 5 March is back, those of the 12th and 19th are not.
        add_event(connection, "2025-03-05T12:30")
        assert retention_horizon(connection) == at("2025-03-20T00:00")
        for day in (12, 19):
            add_event(connection, f"2025-03-{day:02}T12:30")
        # Now every chunk is back, and the horizon is remembered.
        assert retention_horizon(connection) == at("2025-03-20T00:00")
        with pytest.raises(HorizonError):
            refresh(connection, HOURLY, Window(at("2025-03-05T12:00"), at("2025-03-05T13:00")))


def test_a_window_older_than_the_retention_policy_is_refused_before_anything_is_dropped(
    database: Database,
) -> None:
    start = Granularity.DAY.floor(datetime.now(UTC)) - timedelta(days=400)
    with database.connect(autocommit=True) as connection:
        change_policies(connection, server_info(connection), {"retention": "1 year"})
        add_event(connection, f"{start:%Y-%m-%dT%H:%M}")
        with pytest.raises(HorizonError):
            refresh(connection, HOURLY, Window(start, start + timedelta(days=1)))


@pytest.mark.slow
def test_history_of_a_young_database_has_no_horizon(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert retention_horizon(connection) is None
        add_event(connection, "2025-03-10T12:00")
        _close_all(connection, MARCH)
        assert retention_horizon(connection) is None
        _close_all(connection, Window.of_month(date(2025, 2, 1)))


@pytest.mark.parametrize("aggregate", [HOURLY, DAILY, MONTHLY], ids=lambda a: a.name)
def test_a_window_off_the_boundaries_is_refused_and_the_right_one_named(
    database: Database, aggregate: ContinuousAggregate
) -> None:
    window = Window(at("2025-03-05T10:30"), at("2025-03-05T12:00"))
    with (
        database.connect(autocommit=True) as connection,
        pytest.raises(AnalyticsError, match=r"boundary: use \[2025-03-"),
    ):
        refresh(connection, aggregate, window)


def test_an_open_bucket_is_not_closed(database: Database) -> None:
    hour = Granularity.HOUR.floor(datetime.now(UTC))
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{hour:%Y-%m-%dT%H:%M}")
        result = refresh(connection, HOURLY, Window(hour - timedelta(hours=2), hour + timedelta(hours=5)))
        assert result.window.end == hour
        with pytest.raises(AnalyticsError, match="no hour of it has ended yet"):
            refresh(connection, HOURLY, Window(hour, hour + timedelta(hours=1)))


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded database has one session: refreshes can't overlap there")
def test_refreshes_of_one_aggregate_at_once_take_turns_and_duplicate_nothing(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for day in range(1, 29):
            for hour in range(24):
                add_event(connection, f"2025-03-{day:02}T{hour:02}:10", company_id=f"c{hour % 5}")
    windows = [MARCH, Window.of_dates(date(2025, 3, 1), date(2025, 3, 20)), MARCH, MARCH]

    def refresh_once(window: Window) -> None:
        with database.connect(autocommit=True) as connection:
            refresh(connection, HOURLY, window)

    for _ in range(3):
        with ThreadPoolExecutor(len(windows)) as pool:
            list(pool.map(refresh_once, windows))
        with database.connect(autocommit=True) as connection:
            assert reconcile(connection, HOURLY, MARCH).agrees
            add_event(connection, "2025-03-15T12:40", value="1.23")
            add_event(connection, "2025-03-16T12:40", value="1.23")


@pytest.mark.slow
def test_reconciliation_names_the_company_and_bucket_that_differ(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        _add_a_bit_of_everything(connection)
        _close_all(connection, MARCH)
        table = materialized_tables(connection)[DAILY.name].identifier.as_string(connection)
        connection.execute(f"UPDATE {table} SET total_value = total_value + 0.01 WHERE company_id = 'beta'")
        result = reconcile(connection, DAILY, MARCH)
        assert result.difference_count == 2
        assert {(d.side, d.row["company_id"], d.row["bucket"][:10]) for d in result.differences} == {
            ("expected", "beta", "2025-03-06"),
            ("stored", "beta", "2025-03-06"),
        }


@pytest.mark.slow
def test_reconciliation_notices_rows_stored_twice(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-03-05T10:00")
        refresh(connection, HOURLY, MARCH)
        table = materialized_tables(connection)[HOURLY.name].identifier.as_string(connection)
        connection.execute(f"INSERT INTO {table} SELECT * FROM {table}")
        assert reconcile(connection, HOURLY, MARCH).difference_count == 1


def test_a_session_has_its_settings_back_after_a_refresh_also_one_that_fails(database: Database) -> None:
    def settings(connection: Connection) -> list[tuple[object, ...]]:
        return connection.execute(
            "SELECT name, setting FROM pg_settings "
            "WHERE name IN ('work_mem', 'timescaledb.enable_chunkwise_aggregation') ORDER BY name"
        ).fetchall()

    with database.connect(autocommit=True) as connection:
        before = settings(connection)
        changed: list[tuple[object, ...]] = []

        def fail() -> None:
            with aggregate_at_once(connection):
                changed.extend(settings(connection))
                connection.execute("SELECT 1 / 0")

        with pytest.raises(psycopg.errors.DivisionByZero):
            fail()
        assert changed == [("timescaledb.enable_chunkwise_aggregation", "off"), ("work_mem", "65536")]
        assert settings(connection) == before != changed
        add_event(connection, "2025-03-05T10:10")
        refresh(connection, HOURLY, MARCH)
        assert settings(connection) == before
        connection.execute("SET work_mem = '100MB'")
        with aggregate_at_once(connection):
            assert ("work_mem", "102400") in settings(connection)


def test_reconciliation_finds_what_is_missing_or_too_many_in_every_month_of_a_window(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        days = ["2025-01-31T10:00", "2025-02-01T00:00", "2025-02-28T23:00", "2025-03-01T00:00"]
        for day in days:
            add_event(connection, day)
        window = Window(at("2025-01-31T00:00"), at("2025-03-02T00:00"))
        refresh(connection, HOURLY, window)
        table = materialized_tables(connection)[HOURLY.name].identifier.as_string(connection)
        for copies in range(2):
            connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE bucket = %s LIMIT 1", [days[copies]])
        connection.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE bucket = %s LIMIT 1", [days[1]])
        connection.execute(f"UPDATE {table} SET refund_value = 0 WHERE bucket = %s", [days[2]])
        connection.execute(f"DELETE FROM {table} WHERE bucket = %s", [days[3]])
        result = reconcile(connection, HOURLY, window)
        assert (result.expected_rows, result.stored_rows, result.difference_count) == (4, 6, 6)
        assert [(d.side, d.row["bucket"][:16]) for d in result.differences] == [
            ("stored", days[0]),
            ("stored", days[1]),
            ("stored", days[1]),
            ("expected", days[2]),
            ("stored", days[2]),
            ("expected", days[3]),
        ]


def _add_a_bit_of_everything(connection: Connection) -> None:
    add_event(connection, "2025-03-05T10:10")
    add_event(connection, "2025-03-05T10:20", "payment.refunded", value="-3.33", user_id="u2")
    add_event(connection, "2025-03-06T00:00", company_id="beta", currency="USD", value="0.10")
    add_event(connection, "2025-03-06T23:59:59", "user.login", category="user_activity", value=None, currency=None)
    add_event(connection, "2025-03-18T12:00", "user.deleted", category="user_activity", value=None, currency=None)
    add_event(
        connection,
        "2025-03-18T12:00",
        "crypto.received",
        category="crypto",
        value="0.00012345",
        currency="BTC",
    )
    add_event(connection, "2025-03-31T23:59:59.999999", "invoice.created", category="billing", value="99")


def _stored(connection: Connection, aggregate: ContinuousAggregate) -> list[datetime]:
    table = materialized_tables(connection)[aggregate.name].identifier.as_string(connection)
    return [row[0] for row in connection.execute(f"SELECT bucket FROM {table} ORDER BY 1")]


def _rows(connection: Connection, aggregate: ContinuousAggregate) -> list[tuple[object, ...]]:
    return connection.execute(f"SELECT * FROM {aggregate.name} ORDER BY 1, 2, 3").fetchall()
