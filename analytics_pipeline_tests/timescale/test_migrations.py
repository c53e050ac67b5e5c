import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from analytics_pipeline import sql_files
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale import waiting
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.declaration import declaration_drift
from analytics_pipeline.timescale.hypertable import hypertable_drift
from analytics_pipeline.timescale.server import ServerInfo, ensure_extension, require_fit_server
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline_tests.conftest import SERVER_URL, Database

pytestmark = pytest.mark.slow

needs_server = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")


def test_a_migrated_database_has_every_declared_aggregate_as_declared(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert hypertable_drift(connection) == []
        assert {a.name: declaration_drift(connection, a) for a in AGGREGATES} == {a.name: [] for a in AGGREGATES}


def test_migrating_again_changes_nothing(database: Database) -> None:
    report = migrate()
    assert report.applied == ()
    assert report.policy_changes == ()


@needs_server
def test_a_migration_with_nothing_to_do_needs_no_lock_that_anybody_could_hold(
    database: Database, environment: pytest.MonkeyPatch
) -> None:
    """Every table and view of ours is held in the mode that lets others read, and nothing beyond that."""
    environment.setenv("ANALYTICS_LOCK_TIMEOUT", "1")
    get_settings.cache_clear()
    with database.connect() as other:
        relations = other.execute(
            "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class "
            "WHERE relname LIKE 'analytics\\_%' AND relkind IN ('r', 'v') AND relnamespace = 'public'::regnamespace"
        ).fetchone()
        assert relations is not None
        other.execute(f"LOCK TABLE {relations[0]} IN EXCLUSIVE MODE".encode())
        report = migrate()
    assert (report.applied, report.renewed, report.policy_changes) == ((), (), ())


@pytest.mark.parametrize(
    ("part", "alter", "as_migrated"),
    [
        (
            "functions",
            "CREATE OR REPLACE FUNCTION analytics_round_rate(p_rate numeric, p_places integer DEFAULT 1) "
            "RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 0.0'",
            "SELECT analytics_round_rate(1.26) = 1.3",
        ),
        (
            "functions",
            "DROP FUNCTION analytics_lock_changes",
            "SELECT to_regproc('analytics_lock_changes') IS NOT NULL",
        ),
        (
            "views",
            "DROP VIEW analytics_user_metrics_rounded",
            "SELECT to_regclass('analytics_user_metrics_rounded') > 0",
        ),
        (
            "views",
            "ALTER VIEW analytics_user_metrics_rounded RESET (security_invoker)",
            "SELECT reloptions = '{security_invoker=true}' FROM pg_class "
            "WHERE relname = 'analytics_user_metrics_rounded'",
        ),
        (
            "access",
            "REVOKE SELECT ON analytics_fx_rates FROM analytics_reader",
            "SELECT has_table_privilege('analytics_reader', 'analytics_fx_rates', 'SELECT')",
        ),
        (
            "access",
            "GRANT EXECUTE ON FUNCTION analytics_lock_changes TO PUBLIC",
            "SELECT NOT has_function_privilege('public', 'analytics_lock_changes(boolean)', 'EXECUTE')",
        ),
        (
            "row_security",
            "DROP POLICY own_grants ON analytics_company_grants",
            "SELECT count(*) = 1 FROM pg_policy WHERE polname = 'own_grants'",
        ),
        (
            "row_security",
            "ALTER POLICY own_grants ON analytics_company_grants USING (true)",
            "SELECT pg_get_expr(polqual, polrelid) <> 'true' FROM pg_policy WHERE polname = 'own_grants'",
        ),
    ],
)
def test_what_was_altered_by_hand_is_brought_back_once(
    database: Database, part: str, alter: str, as_migrated: str
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(alter.encode())
        assert part in migrate().renewed
        assert connection.execute(as_migrated.encode()).fetchone() == (True,)
        assert migrate().renewed == ()


@needs_server
def test_a_change_names_who_is_in_its_way_and_lets_readers_in_between(
    database: Database, environment: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    environment.setattr(waiting, "BRIEF_TIMEOUT", 0.5)
    environment.setattr(waiting, "BRIEF_PAUSE", 0.2)
    with database.connect() as reader, database.connect(autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        other.execute("ALTER VIEW analytics_user_metrics_rounded RESET (security_invoker)")
        reader.execute("SELECT FROM analytics_user_metrics_rounded")
        migration = pool.submit(migrate)
        _until(lambda: "A change of the schema waits" in caplog.text)
        # One that comes later, while the change waits, and by a lock that can't be had together with it.
        assert other.execute("SELECT count(*) FROM analytics_user_metrics_rounded").fetchone() == (0,)
        assert not migration.done()
        reader.rollback()
        assert migration.result().renewed == ("views",)
        holder = f"a lock on analytics_user_metrics_rounded, held by process {reader.info.backend_pid}"
    assert holder in caplog.text
    assert "last statement: SELECT FROM analytics_user_metrics_rounded" in caplog.text


@needs_server
def test_a_change_that_never_gets_its_lock_stops_and_leaves_everything_as_it_was(
    database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.setenv("ANALYTICS_LOCK_TIMEOUT", "1")
    get_settings.cache_clear()
    root = copy_sql(tmp_path, environment)
    (root / "migrations" / "9998_wider.sql").write_text("ALTER TABLE analytics_fx_rates ADD COLUMN note text;")
    with database.connect() as reader:
        reader.execute("SELECT FROM analytics_fx_rates")
        remedy = rf"pg_terminate_backend\({reader.info.backend_pid}\)"
        with pytest.raises(LockTimeoutError, match=rf"a lock on analytics_fx_rates, held by .*{remedy}"):
            migrate()
        reader.rollback()
        assert migrate().applied == ("9998_wider.sql",)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_migrating_at_once_leave_one_schema(environment: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "from analytics_pipeline.database import migrate; migrate()"]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True, check=False), "ab"))
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    with connect(autocommit=True) as connection:
        row = connection.execute("SELECT count(*), max(version) FROM analytics_schema_migrations").fetchone()
        assert row is not None
        assert row[0] == row[1]


def test_a_migration_that_fails_half_way_leaves_nothing_of_itself(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = copy_sql(tmp_path, environment)
    (root / "migrations" / "9998_broken.sql").write_text("CREATE TABLE analytics_half (a int); SELECT 1/0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate()
    with connect(autocommit=True) as connection:
        assert connection.execute("SELECT to_regclass('analytics_half')").fetchone() == (None,)
    (root / "migrations" / "9998_broken.sql").write_text("CREATE TABLE analytics_half (a int);")
    sql_files.load_sql.cache_clear()
    assert migrate().applied == ("9998_broken.sql",)


def test_an_applied_file_that_was_edited_is_named(
    database: Database, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = copy_sql(tmp_path, environment)
    edited = root / "migrations" / "0005_users.sql"
    edited.write_text(edited.read_text() + "-- another thought\n")
    with pytest.raises(AnalyticsError, match=r"0005_users\.sql was edited after it was applied .* new migration"):
        migrate()


def test_a_database_newer_than_the_program_is_refused(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("INSERT INTO analytics_schema_migrations VALUES (9999, '9999_later.sql', 'x')")
    with pytest.raises(AnalyticsError, match="update the program"):
        migrate()


@pytest.mark.parametrize(
    ("version", "license_", "message"),
    [
        ("2.22.1", "timescale", "below the floor 2.23.0"),
        ("2.28.2", "timescale", "defect of the 2.28 series"),
        ("2.27.2", "apache", "Apache edition has no continuous aggregates"),
    ],
)
def test_an_unfit_server_is_refused_in_one_sentence(version: str, license_: str, message: str) -> None:
    with pytest.raises(AnalyticsError, match=message):
        require_fit_server(ServerInfo("17.5", version, license_))


def test_a_server_without_the_extension_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.connect(autocommit=True) as connection:
        # The catalogue of installable extensions, seen as a server without TimescaleDB shows it.
        connection.execute(
            "CREATE TEMP VIEW pg_available_extensions AS "
            "SELECT * FROM pg_catalog.pg_available_extensions WHERE name <> 'timescaledb'"
        )
        connection.execute("SET search_path = pg_temp, public, pg_catalog")
        with pytest.raises(AnalyticsError, match="has no TimescaleDB extension: install"):
            ensure_extension(connection)


def test_every_migration_runs_with_psql_too(environment: pytest.MonkeyPatch) -> None:
    """Plain SQL without parameters: sent as it stands, in order, twice."""
    with connect(autocommit=True) as connection:
        for _ in range(2):
            for name in sql_files.list_sql("migrations"):
                connection.execute(sql_files.load_sql(name).encode())
    assert migrate().already_applied == 0
    with connect(autocommit=True) as connection:
        assert hypertable_drift(connection) == []


def copy_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the program read a copy of ``sql/`` that a test may change, and return where that is."""
    root = tmp_path / "sql"
    for source in sql_files.SQL_ROOT.rglob("*.sql"):
        target = root / source.relative_to(sql_files.SQL_ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text())
    monkeypatch.setattr(sql_files, "SQL_ROOT", root)
    sql_files.load_sql.cache_clear()
    return root


@pytest.fixture(autouse=True)
def _fresh_sql_cache() -> None:
    sql_files.load_sql.cache_clear()
