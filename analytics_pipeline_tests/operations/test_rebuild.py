"""``db rebuild``: an aggregate is brought to its declaration, and nobody sees a gap or loses a row."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner
from psycopg import sql

from analytics_pipeline.cli import main
from analytics_pipeline.database import migrate
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.operations import rebuild as rebuild_module
from analytics_pipeline.operations.rebuild import rebuild
from analytics_pipeline.timescale import waiting
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.declaration import is_as_declared
from analytics_pipeline.timescale.exchange import exchange
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.reconcile import reconcile
from analytics_pipeline.timescale.refresh import materialized_tables, refresh
from analytics_pipeline.timescale.replacement import Replacement
from analytics_pipeline.timescale.waiting import LockTimeoutError, WatchedConnection
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event, at

pytestmark = pytest.mark.slow

needs_server = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")

BY_NAME = {aggregate.name: aggregate for aggregate in AGGREGATES}
GRAIN = BY_NAME["analytics_user_activity_monthly"]
HOURLY, DAILY, MONTHLY = (BY_NAME[f"analytics_revenue_{level}"] for level in ("hourly", "daily", "monthly"))
CLOSED = Window(at("2025-01-01T00:00"), at("2025-06-01T00:00"))
HORIZON = at("2025-03-10T00:00")
ROWS = "SELECT bucket, company_id, user_id, event_count FROM analytics_user_activity_monthly ORDER BY 1, 2, 3"
INSTANTS = "SELECT to_char(bucket, 'MM'), first_at, last_at FROM analytics_user_activity_monthly ORDER BY 1, 2"


@pytest.fixture
def connection(database: Database) -> Iterator[WatchedConnection]:
    """A database whose user grain is that of an older version; two events in each month, January to May are closed."""
    with database.connect(autocommit=True) as connection:
        make_again(connection, GRAIN, "count(*) AS event_count")
        for month in range(1, 8):
            add_event(connection, f"2025-{month:02}-05T10:00")
            add_event(connection, f"2025-{month:02}-20T11:30")
        refresh(connection, GRAIN, CLOSED)
        connection.execute(
            "INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at) "
            "SELECT %s, m, m + interval '1 month', now() FROM generate_series(%s, %s, interval '1 month') AS m",
            [GRAIN.name, CLOSED.start, at("2025-05-01T00:00")],
        )
        yield connection


def make_again(connection: Connection, aggregate: ContinuousAggregate, measures: str) -> None:
    """Make an empty aggregate anew with other measures."""
    connection.execute(sql.SQL("DROP MATERIALIZED VIEW {}").format(sql.Identifier(aggregate.name)))
    on_events = aggregate.source == "analytics_events"
    connection.execute(
        sql.SQL(
            "CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
            "SELECT time_bucket({}::interval, {}) AS bucket, {}, {} FROM {} {} GROUP BY 1, 2, 3 WITH NO DATA"
        ).format(
            sql.Identifier(aggregate.name),
            sql.Literal(f"1 {aggregate.granularity}"),
            sql.Identifier("timestamp" if on_events else "bucket"),
            sql.SQL(", ").join(map(sql.Identifier, aggregate.dimensions)),
            sql.SQL(measures),
            sql.Identifier(aggregate.source),
            sql.SQL(f"WHERE {aggregate.condition}" if on_events else ""),
        )
    )


def expire(connection: Connection) -> None:
    """Drop the events before the horizon: January to March can't be computed any more."""
    connection.execute("SELECT drop_chunks('analytics_events', older_than => %s::timestamptz)", [HORIZON])
    connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES (%s)", [HORIZON])


def quietly(connection: WatchedConnection, aggregate: ContinuousAggregate) -> list[rebuild_module.RebuiltAggregate]:
    return rebuild(connection, aggregate, lambda _name, _month: None)


def test_rows_behind_the_horizon_are_carried_over_and_the_others_get_the_new_columns(
    connection: WatchedConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(connection)
    # What stands beside its rows: another policy than declared, an index, a comment, a grant, and a view that has some.
    connection.execute(f"CREATE VIEW monthly_actives AS SELECT bucket, count(*) FROM {GRAIN.name} GROUP BY bucket")
    connection.execute(f"COMMENT ON VIEW {GRAIN.name} IS 'who was there'")
    connection.execute(f"GRANT SELECT ON {GRAIN.name}, monthly_actives TO PUBLIC")
    connection.execute(f"CREATE INDEX ON {GRAIN.name} (user_id, company_id)")
    connection.execute(
        f"SELECT add_continuous_aggregate_policy('{GRAIN.name}', interval '5 months', interval '1 month', "
        "interval '2 days')"
    )
    beside = """
        SELECT
            (SELECT array_agg(m ORDER BY m) FROM monthly_actives AS m),
            obj_description('analytics_user_activity_monthly'::regclass),
            has_table_privilege('public', 'analytics_user_activity_monthly', 'SELECT'),
            has_table_privilege('public', 'monthly_actives', 'SELECT'),
            (SELECT array_agg((config ->> 'start_offset', schedule_interval, scheduled))
               FROM timescaledb_information.jobs AS j
               JOIN timescaledb_information.continuous_aggregates AS a
                 ON a.materialization_hypertable_name = j.hypertable_name
              WHERE a.view_name = 'analytics_user_activity_monthly')
    """
    before, stood = connection.execute(ROWS).fetchall(), fetch_row(connection, beside)
    assert len(before) == 7
    assert stood[1] == "who was there"
    # What it is can be proved as it is.
    assert reconcile(connection, GRAIN, Window(at("2025-04-01T00:00"), CLOSED.end)).agrees
    (note,) = (note for note in migrate().notes if "db rebuild" in note)
    assert "'analytics-pipeline db rebuild analytics_user_activity_monthly'" in note

    # Killed at the last moment, readers have what they had.
    def die(session: Connection, targets: Sequence[Replacement]) -> None:
        exchange(session, targets)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rebuild_module, "exchange", die)
        with pytest.raises(KeyboardInterrupt):
            quietly(connection, GRAIN)
    assert connection.execute(ROWS).fetchall() == before
    assert fetch_row(connection, beside) == stood

    result = CliRunner().invoke(main, ["db", "rebuild", GRAIN.name, "--json"])
    assert result.exit_code == 0, result.output
    (done,) = json.loads(result.stdout)["rebuilt"]
    assert (done["start"], done["end"], done["carriedRows"]) == ("2025-04-01T00:00:00Z", "2025-06-01T00:00:00Z", 3)
    assert "analytics_user_activity_monthly  2025-05" in result.stderr
    assert is_as_declared(connection, GRAIN)
    assert connection.execute(ROWS).fetchall() == before
    assert connection.execute(INSTANTS).fetchall() == [
        ("01", None, None),
        ("02", None, None),
        ("03", None, None),
        *((f"{m:02}", at(f"2025-{m:02}-05T10:00"), at(f"2025-{m:02}-20T11:30")) for m in range(4, 8)),
    ]
    assert fetch_row(connection, beside) == stood
    table = materialized_tables(connection)[GRAIN.name]
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = %s AND indexdef LIKE '%%(user_id, company_id)'"
    assert fetch_row(connection, indexes, [table.table]) == (1,)
    # What was closed stays closed, and June is as open as it was.
    assert table.watermark == CLOSED.end
    connection.execute(sql.SQL("UPDATE {} SET last_at = first_at WHERE bucket = '2025-04-01'").format(table.identifier))
    assert reconcile(connection, GRAIN, Window(at("2025-04-01T00:00"), CLOSED.end)).difference_count == 2
    stale = connection.execute("SELECT * FROM analytics_stale_partitions('-infinity', 'infinity')").fetchall()
    assert stale == []
    assert stale_ranges(connection, Window(CLOSED.end, at("2025-07-01T00:00")), GRAIN.name) != []
    # Nothing is left over, and nothing to be done.
    names = connection.execute("SELECT view_name FROM timescaledb_information.continuous_aggregates").fetchall()
    assert sorted(name for (name,) in names) == sorted(BY_NAME)
    again = CliRunner().invoke(main, ["db", "rebuild", GRAIN.name])
    assert "is as declared: nothing was to be done" in again.output
    assert not [note for note in migrate().notes if "db rebuild" in note]


def test_those_built_on_it_are_rebuilt_with_it_and_what_has_changed_meanwhile_is_noted(
    connection: WatchedConnection,
) -> None:
    for aggregate in (MONTHLY, DAILY):
        connection.execute(sql.SQL("DROP MATERIALIZED VIEW {}").format(sql.Identifier(aggregate.name)))
    make_again(connection, HOURLY, "sum(value) AS total_value, count(*) AS event_count")
    for aggregate in (DAILY, MONTHLY):
        connection.execute(
            sql.SQL(
                "CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS "
                "SELECT time_bucket({}::interval, bucket) AS bucket, company_id, currency, "
                "sum(total_value) AS total_value, sum(event_count)::bigint AS event_count FROM {} GROUP BY 1, 2, 3 "
                "WITH NO DATA"
            ).format(
                sql.Identifier(aggregate.name),
                sql.Literal(f"1 {aggregate.granularity}"),
                sql.Identifier(aggregate.source),
            )
        )
    # One of them after the horizon, in the month that it cuts.
    for when in ("2025-03-20T11:45", "2025-05-20T11:45"):
        add_event(connection, when, "payment.refunded", value="-2.50")
    levels = (HOURLY, DAILY, MONTHLY)
    for aggregate in levels:
        refresh(connection, aggregate, CLOSED)
    expire(connection)
    add_event(connection, "2025-04-20T11:50", value="0.25")
    connection.execute("DELETE FROM analytics_metric_changes")

    # Nobody could move this one, and it would go with the old table of rows.
    connection.execute("CREATE MATERIALIZED VIEW somebodys AS SELECT count(*) FROM analytics_revenue_daily")
    with pytest.raises(RefusedError, match="the materialized view somebodys depends on it"):
        quietly(connection, HOURLY)
    connection.execute("DROP MATERIALIZED VIEW somebodys")
    done = quietly(connection, HOURLY)

    assert [(r.name, r.carried_rows) for r in done] == [(HOURLY.name, 5), (DAILY.name, 5), (MONTHLY.name, 3)]
    for aggregate, start in zip(levels, ("2025-04-20T11:00", "2025-04-20T00:00", "2025-04-01T00:00"), strict=True):
        assert is_as_declared(connection, aggregate)
        (rebuilt,) = (r for r in done if r.name == aggregate.name)
        changed = Window(at(start), aggregate.granularity.next(at(start)))
        assert changed in rebuilt.changed
        rows = sql.SQL(
            "SELECT array_agg(total_value ORDER BY bucket), sum(event_count), array_agg(DISTINCT refund_value) FROM {}"
        )
        values, events, refunds = fetch_row(connection, rows.format(sql.Identifier(aggregate.name)))
        assert (sum(values), events, refunds) == (Decimal("135.25"), 17, [Decimal("-2.50"), None])
    # March is the month of which a part has expired: what can still be computed of it is a part.
    refunds_of = sql.SQL("SELECT DISTINCT date_part('month', bucket) FROM {} WHERE refund_value IS NOT NULL ORDER BY 1")
    months = [
        [month for (month,) in connection.execute(refunds_of.format(sql.Identifier(aggregate.name)))]
        for aggregate in levels
    ]
    assert months == [[3, 5], [3, 5], [5]]
    noted = connection.execute(
        "SELECT cause FROM analytics_metric_changes WHERE changed_from <= %s AND changed_until >= %s",
        [at("2025-04-20T11:50"), at("2025-04-20T11:50")],
    ).fetchall()
    assert {f"events in {DAILY.name}", f"events in {MONTHLY.name}"} <= {cause for (cause,) in noted}


def test_an_aggregate_whose_events_have_all_expired_is_carried_over_and_still_shown(
    connection: WatchedConnection,
) -> None:
    refresh(connection, GRAIN, Window(CLOSED.start, at("2025-08-01T00:00")))
    connection.execute(f"ALTER MATERIALIZED VIEW {GRAIN.name} SET (timescaledb.compress = true)")
    connection.execute("SELECT compress_chunk(c) FROM show_chunks(%s) AS c", [GRAIN.name])
    before = connection.execute(ROWS).fetchall()
    connection.execute("SELECT drop_chunks('analytics_events', older_than => timestamptz '2025-08-01')")
    connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-08-01')")
    (done,) = quietly(connection, GRAIN)
    assert (done.carried_rows, done.computed) == (7, None)
    compressed = "SELECT compression_enabled FROM timescaledb_information.continuous_aggregates WHERE view_name = %s"
    assert fetch_row(connection, compressed, [GRAIN.name]) == (True,)
    assert connection.execute(ROWS).fetchall() == before
    add_event(connection, "2025-09-05T10:00")
    assert connection.execute(ROWS).fetchall() == [*before, (at("2025-09-01T00:00"), "acme", "u1", 1)]


@needs_server
def test_readers_see_one_complete_relation_at_every_instant_and_a_late_event_is_not_lost(
    connection: WatchedConnection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BRIEF_TIMEOUT", 0.3)
    monkeypatch.setattr(waiting, "BRIEF_PAUSE", 0.2)
    expire(connection)
    before = connection.execute(ROWS).fetchall()
    is_over = threading.Event()
    seen: list[list[tuple[Any, ...]]] = []

    def read() -> None:
        with database.connect(autocommit=True) as reader:
            while not is_over.is_set():
                seen.append(reader.execute(ROWS).fetchall())

    def come_late(session: Connection, targets: Sequence[Replacement]) -> None:
        if not waits:
            with database.connect(autocommit=True) as writer:
                add_event(writer, "2025-04-07T10:00", user_id="u2")
        try:
            exchange(session, targets)
        except LockTimeoutError as error:
            waits.append(error)
            slow.rollback()
            raise

    waits: list[LockTimeoutError] = []
    monkeypatch.setattr(rebuild_module, "exchange", come_late)
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    with database.connect() as slow:
        # Who has read it in a transaction that goes on is waited for, at most a moment at a time.
        slow.execute(ROWS)
        quietly(connection, GRAIN)
    is_over.set()
    for reader in readers:
        reader.join()
    assert len(waits) == 1
    assert len(seen) > 2
    assert [rows for rows in seen if rows != before] == []
    # It came after the new one had been computed: the closed April is stale, as after any late event.
    stale = connection.execute("SELECT asset, window_start FROM analytics_stale_partitions('-infinity', 'infinity')")
    assert stale.fetchall() == [(GRAIN.name, at("2025-04-01T00:00"))]
    refresh(connection, GRAIN, Window(at("2025-04-01T00:00"), at("2025-05-01T00:00")))
    assert (at("2025-04-01T00:00"), "acme", "u2", 1) in connection.execute(ROWS).fetchall()


@pytest.mark.faults
@pytest.mark.endurance
def test_killed_after_any_statement_readers_see_every_row_and_the_next_rebuild_ends_it(
    connection: WatchedConnection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire(connection)
    before = connection.execute(ROWS).fetchall()
    usual = WatchedConnection.execute
    left = 0

    def dying(self: WatchedConnection, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            self.close()
            raise KeyboardInterrupt
        return usual(self, *arguments, **options)

    statements = 0
    while not is_as_declared(connection, GRAIN):
        statements += 1
        with database.connect(autocommit=True) as other, monkeypatch.context() as patch:
            left = statements
            patch.setattr(WatchedConnection, "execute", dying)
            with suppress(KeyboardInterrupt):
                quietly(other, GRAIN)
        assert connection.execute(ROWS).fetchall() == before
    assert statements > 30
    quietly(connection, GRAIN)
    assert connection.execute(ROWS).fetchall() == before
    assert connection.execute("SELECT * FROM analytics_stale_partitions('-infinity', 'infinity')").fetchall() == []
    names = connection.execute("SELECT view_name FROM timescaledb_information.continuous_aggregates").fetchall()
    assert sorted(name for (name,) in names) == sorted(BY_NAME)
