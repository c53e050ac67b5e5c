import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from analytics_pipeline import sql_files
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import connect
from analytics_pipeline.timescale.declaration import declaration_drift
from analytics_pipeline.timescale.hypertable import hypertable_drift
from analytics_pipeline.timescale.migrations import migrate
from analytics_pipeline.timescale.server import ServerInfo, ensure_extension, require_fit_server
from analytics_pipeline_tests.conftest import Database


def test_a_migrated_database_has_every_declared_aggregate_as_declared(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        assert hypertable_drift(connection) == []
        assert {a.name: declaration_drift(connection, a) for a in AGGREGATES} == {a.name: [] for a in AGGREGATES}


def test_migrating_again_changes_nothing(database: Database) -> None:
    report = migrate()
    assert report.applied == ()
    assert report.policy_changes == ()


def test_two_processes_migrating_at_once_leave_one_schema(environment: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-c", "from analytics_pipeline.timescale.migrations import migrate; migrate()"]
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
    root = _copy_sql(tmp_path, environment)
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
    root = _copy_sql(tmp_path, environment)
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


def _copy_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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
