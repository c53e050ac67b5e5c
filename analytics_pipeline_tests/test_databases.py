"""What every other test stands on: a database shows nothing of the test before, whatever that did to it."""

import re
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from analytics_pipeline.database import connect, migrate
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.conftest import SERVER_URL, migrated_database
from analytics_pipeline_tests.databases import Kind, ServerDatabases
from analytics_pipeline_tests.pristine import Pristine

EVENTS = (
    "INSERT INTO analytics_events (event_id, timestamp, company_id, user_id, event_type, category, value, currency) "
    "SELECT gen_random_uuid(), timestamptz '2025-01-01' + i * interval '3 days', 'acme', 'u' || i, 'payment.received', "
    "'revenue', 10, 'EUR' FROM generate_series(1, 10) AS i"
)
REFRESH = (
    "CALL refresh_continuous_aggregate('analytics_revenue_hourly', '2025-01-01', '2025-02-01')",
    "CALL refresh_continuous_aggregate('analytics_revenue_daily', '2025-01-01', '2025-02-01')",
)
COMPRESSION_JOB = "(SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression')"
PROCEDURE = "CREATE PROCEDURE left_over(job_id int, config jsonb) LANGUAGE plpgsql AS 'BEGIN END'"

# What tests do to a database, by name.
WAYS = {
    "events": (EVENTS,),
    "events that are gone again": (EVENTS, "DELETE FROM analytics_events"),
    "aggregates": (EVENTS, *REFRESH),
    "aggregates whose events are gone": (EVENTS, *REFRESH, "SELECT drop_chunks('analytics_events', now())"),
    "aggregates with a late event": (EVENTS, *REFRESH, EVENTS),
    "compressed chunks": (EVENTS, "SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c"),
    "statistics": ("INSERT INTO analytics_users VALUES ('acme', 'u1', now())", "ANALYZE analytics_users"),
    "a sequence": ("SELECT nextval('analytics_outbox_outbox_id_seq')",),
    "a row of a table that has rows": ("INSERT INTO analytics_schema_migrations VALUES (9999, '9999_x.sql', 'x')",),
    "no row where there were rows": ("DELETE FROM analytics_schema_migrations",),
    "a changed policy": (f"SELECT alter_job({COMPRESSION_JOB}, scheduled => false, next_start => now() + '1 day')",),
    "no policy": ("SELECT remove_compression_policy('analytics_events')",),
    "a job": (PROCEDURE, "SELECT add_job('left_over', interval '1 hour', initial_start => now() + interval '1 day')"),
    "a table": ("CREATE TABLE left_over AS SELECT 1 AS a",),
    "a renamed table": ("ALTER TABLE analytics_events RENAME TO analytics_events_kept",),
    "a table less": ("DROP TABLE analytics_fx_rates",),
    "an index less": ("DROP INDEX analytics_events_event_id_timestamp_key",),
    "an aggregate less": ("DROP MATERIALIZED VIEW analytics_event_volume_hourly CASCADE",),
    "a constraint": ("ALTER TABLE analytics_fx_rates ADD CONSTRAINT no_francs CHECK (quote <> 'CHF')",),
    "a right": ("GRANT SELECT ON analytics_events TO PUBLIC",),
    "a right of columns": ("GRANT SELECT (bucket) ON analytics_revenue_daily TO PUBLIC",),
    "a policy of rows": ("CREATE POLICY all_of_it ON analytics_user_metrics USING (true)",),
    "rows without a policy": ("ALTER TABLE analytics_revenue_metrics DISABLE ROW LEVEL SECURITY",),
    "a function": ("CREATE FUNCTION left_over() RETURNS int LANGUAGE sql AS 'SELECT 1'",),
    "a changed function": ("ALTER FUNCTION analytics_data_through SET work_mem = '5MB'",),
    "a schema": ("CREATE SCHEMA left_over",),
    "a setting": ("DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''5MB''', current_database()); END$$",),
    "a comment": ("COMMENT ON TABLE analytics_users IS 'left over'",),
}

# One line per thing that anybody can see of a database: rows, definitions, rights, settings.
_SEEN = r"""
SELECT 'class', concat_ws(' ', oid::regclass, relkind, relacl, reloptions, relrowsecurity, relforcerowsecurity,
                          obj_description(oid, 'pg_class')) FROM pg_class
WHERE relnamespace <> 'pg_toast'::regnamespace AND relpersistence <> 't'
UNION ALL SELECT 'column', concat_ws(' ', attrelid::regclass, attname, format_type(atttypid, atttypmod), attacl)
FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid::regclass::text !~ '^pg_(toast|temp)'
UNION ALL SELECT 'constraint', concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
UNION ALL SELECT 'index', concat_ws(' ', indexdef) FROM pg_indexes
UNION ALL SELECT 'function', concat_ws(' ', oid::regprocedure, md5(prosrc), proacl, proconfig) FROM pg_proc
UNION ALL SELECT 'policy', concat_ws(' ', policyname, tablename, cmd, roles, qual, with_check) FROM pg_policies
UNION ALL SELECT 'schema', concat_ws(' ', nspname, nspacl) FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'sequence', concat_ws(' ', sequencename, last_value) FROM pg_sequences
WHERE schemaname !~ '^_timescaledb'
UNION ALL SELECT 'statistics', concat_ws(' ', tablename, attname, n_distinct) FROM pg_stats
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
-- A server's own autovacuum may have looked at it: there are more migrations than it leaves alone.
  AND tablename <> 'analytics_schema_migrations'
UNION ALL SELECT 'setting', concat_ws(' ', setrole::regrole, setconfig) FROM pg_db_role_setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL SELECT 'extension', concat_ws(' ', extname, extversion) FROM pg_extension
"""
_TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
"""
# Jobs that are due run at any time: what they note is nobody's, and what they compress can't be read by itself.
_LEFT_OUT = re.compile(
    r"public\.analytics_job_runs|_timescaledb_internal\._compressed_hypertable_\w+"
    + ("" if SERVER_URL is None else r"|_timescaledb_cache\.\w+|_timescaledb_internal\.bgw_\w+")
)


def _seen(connection: Connection) -> set[str]:
    connection.execute("RESET search_path")
    lines = {f"{what} {text}" for what, text in connection.execute(_SEEN) if "analytics_job_runs" not in text}
    for (table,) in connection.execute(_TABLES).fetchall():
        if not _LEFT_OUT.fullmatch(table):
            lines |= {f"row {table} {row}" for (row,) in connection.execute(f"SELECT t::text FROM {table} AS t")}
    return lines


# A database whose definitions have changed is replaced: on the embedded server that takes seconds, so it is done for
# one of them, and for the others it is only asked whether the change is noticed.
DEFINITIONS = list(WAYS)[list(WAYS).index("a job") :]
REPLACED = [way for way in WAYS if way not in DEFINITIONS or way == "a function" or SERVER_URL is not None]


@pytest.mark.slow
@pytest.mark.parametrize("way", REPLACED)
def test_a_database_shows_nothing_of_the_test_before(embedded_home: Path, tmp_path: Path, way: str) -> None:
    with migrated_database(embedded_home, tmp_path) as database, database.connect(autocommit=True) as connection:
        before = _seen(connection)
        for statement in WAYS[way]:
            connection.execute(statement)
        assert _seen(connection) != before, "what was done must be seen, or its absence proves nothing"
    with migrated_database(embedded_home, tmp_path) as database, database.connect(autocommit=True) as connection:
        assert _seen(connection) ^ before == set()


@pytest.mark.slow
@pytest.mark.skipif(SERVER_URL is not None, reason="on a server no database is used twice")
@pytest.mark.parametrize("way", DEFINITIONS)
def test_a_changed_definition_is_noticed_or_undone(embedded_home: Path, tmp_path: Path, way: str) -> None:
    with migrated_database(embedded_home, tmp_path) as database, database.connect() as connection:
        (current,) = fetch_row(connection, "SELECT pg_current_xact_id()::xid::text")
        pristine = Pristine(connection, since=current)
        connection.commit()
        before = _seen(connection)
        for statement in WAYS[way]:
            connection.execute(statement)
        assert _seen(connection) != before, "what was done must be seen, or its absence proves nothing"
        restored = False
        # As where databases are made: what can't be restored at all is replaced.
        with suppress(psycopg.Error):
            restored = pristine.restore(connection)
        assert not restored or _seen(connection) == before
        connection.rollback()


@pytest.mark.slow
def test_a_role_is_not_there_in_the_next_test(embedded_home: Path, tmp_path: Path) -> None:
    if SERVER_URL is not None:
        pytest.skip("roles of a server are everybody's: tests drop theirs")
    with migrated_database(embedded_home, tmp_path) as database, database.connect(autocommit=True) as connection:
        connection.execute("CREATE ROLE left_over; GRANT analytics_reader TO left_over")
    with migrated_database(embedded_home, tmp_path) as database, database.connect(autocommit=True) as connection:
        assert fetch_row(connection, "SELECT to_regrole('left_over')") == (None,)


@pytest.mark.slow
def test_a_database_is_as_one_that_was_migrated_for_the_test_alone(
    environment: pytest.MonkeyPatch, embedded_home: Path, tmp_path: Path
) -> None:
    def timeless(lines: set[str]) -> set[str]:
        """Leave out when it was made, and the numbers that TimescaleDB gives each database."""
        return {re.sub(r"\d{4}-\d\d-\d\d [\d:.+]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "#", x) for x in lines}

    migrate()
    with connect(autocommit=True) as connection:
        alone = timeless(_seen(connection))
    with migrated_database(embedded_home, tmp_path) as database, database.connect(autocommit=True) as connection:
        assert timeless(_seen(connection)) ^ alone == set()


@pytest.mark.slow
def test_an_empty_database_is_empty_after_a_migrated_one(
    database_before: None, environment: pytest.MonkeyPatch
) -> None:
    with connect(autocommit=True) as connection:
        assert fetch_row(connection, "SELECT count(*) FROM pg_class WHERE oid >= 16384") == (0,)


@pytest.fixture
def database_before(embedded_home: Path, tmp_path: Path) -> None:
    with migrated_database(embedded_home, tmp_path):
        pass


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one database")
def test_what_a_killed_run_left_on_a_server_is_dropped_by_the_next_one_and_nothing_else() -> None:
    assert SERVER_URL is not None
    left, foreign = f"analytics_test_{uuid.uuid4().hex[:8]}_1", f"analytics_test_{uuid.uuid4().hex}"
    running, databases = ServerDatabases(SERVER_URL), ServerDatabases(SERVER_URL)
    with psycopg.connect(SERVER_URL, autocommit=True) as admin, running.make(Kind.EMPTY) as url:
        for name in (left, foreign):
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with databases.make(Kind.EMPTY):
                found = {name for (name,) in admin.execute("SELECT datname FROM pg_database").fetchall()}
            assert left not in found
            assert found >= {foreign, url.rpartition("/")[2]}
        finally:
            databases.close()
            for name in (left, foreign):
                admin.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
    running.close()
