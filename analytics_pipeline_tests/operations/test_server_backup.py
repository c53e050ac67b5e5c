"""The whole cycle on a database server: dump, restore, proof."""

import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from dagster import AssetCheckEvaluation, AssetKey, DagsterInstance
from psycopg import sql

from analytics_pipeline.cli import main
from analytics_pipeline.database import connect
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.operations import backup as backup_module
from analytics_pipeline.operations.keeping import whole_backups
from analytics_pipeline.operations.manifest import Content
from analytics_pipeline.operations.places import list_backups
from analytics_pipeline.operations.row_counts import read_content
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.commands import locked, running
from analytics_pipeline_tests.conftest import SERVER_URL, Database, empty_database
from analytics_pipeline_tests.operations.conftest import MONTHS, PG_BIN, why_no_dump

pytestmark = pytest.mark.skipif(bool(why_no_dump()), reason=why_no_dump())


@pytest.fixture(autouse=True)
def settings(source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of a command on the source; Dagster has no storage yet."""
    monkeypatch.setenv("ANALYTICS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", source.url)
    monkeypatch.setenv("ANALYTICS_PG_BIN", PG_BIN)
    get_settings.cache_clear()
    yield monkeypatch
    get_settings.cache_clear()


@pytest.fixture
def empty(embedded_home: Path) -> Iterator[str]:
    with empty_database(embedded_home) as url:
        yield url


@pytest.fixture
def storages(embedded_home: Path) -> Iterator[tuple[str, str]]:
    """What stands for Dagster's storage, on the same server: one with something in it, and an empty one."""
    with empty_database(embedded_home) as full, empty_database(embedded_home) as empty:
        with psycopg.connect(full, autocommit=True) as connection:
            connection.execute("CREATE TABLE runs (id bigint PRIMARY KEY, body text)")
            connection.execute("INSERT INTO runs SELECT n, 'run ' || n FROM generate_series(1, 50) AS n")
        yield full, empty


def _run(*arguments: str) -> Result:
    get_settings.cache_clear()
    return CliRunner().invoke(main, list(arguments))


def _backup(place: Path) -> str:
    result = _run("backup", str(place), "--json")
    assert result.exit_code == 0, result.output
    return str(json.loads(result.stdout)["backup"])


def _events(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute('SELECT * FROM analytics_events ORDER BY "timestamp", event_id').fetchall()


def _scheduled(url: str) -> int:
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000 AND scheduled"
        return int(fetch_row(connection, query)[0])


@pytest.mark.slow
def test_a_restored_database_holds_every_event_chunk_policy_and_figure(
    source: Database, empty: str, storages: tuple[str, str], settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings.setenv("DAGSTER_POSTGRES_URL", storages[0])
    backup = _backup(tmp_path / "place")
    figures = [_run("metrics", "revenue", "--start", f"{m}-01", "--end", f"{m}-28", "--json").stdout for m in MONTHS]
    assert '"totalRevenue": "43.50"' in figures[0]

    settings.setenv("ANALYTICS_DATABASE_URL", empty)
    settings.setenv("DAGSTER_POSTGRES_URL", storages[1])
    result = _run("restore", backup, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["differences"] == []
    assert [policy["procedure"] for policy in found["switchedOff"]] == ["policy_compression"]

    assert _events(empty) == _events(source.url)
    assert figures == [
        _run("metrics", "revenue", "--start", f"{m}-01", "--end", f"{m}-28", "--json").stdout for m in MONTHS
    ]
    with psycopg.connect(empty) as connection:
        query = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
        assert fetch_row(connection, query)[0] > 0
        assert fetch_row(connection, "SHOW jit") == ("off",)
        assert fetch_row(connection, "SHOW timescaledb.restoring") == ("off",)
    with psycopg.connect(storages[1]) as connection:
        assert fetch_row(connection, "SELECT count(*), max(body) FROM runs") == (50, "run 9")

    # Nothing may drop or compress anything until somebody says so.
    assert _scheduled(empty) == 0
    assert _run("db", "policies", "--apply", "--yes").exit_code == 0
    assert _scheduled(empty) == _scheduled(source.url) == 1

    # A second time it would double everything.
    result = _run("restore", backup)
    assert result.exit_code == 1
    assert "Dagster's storage is not empty: it holds public.runs" in result.output
    result = _run("restore", backup, "--without-dagster")
    assert "The database is not empty" in result.output
    assert _events(empty) == _events(source.url)


@pytest.mark.slow
def test_roles_that_are_missing_are_named_and_grants_of_roles_made_anew_hold_once_they_are_confirmed(
    source: Database, empty: str, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    role = f"analyst_{uuid.uuid4().hex[:8]}"
    make = sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role))
    with psycopg.connect(source.url, autocommit=True) as admin:
        admin.execute(make)
        try:
            admin.execute(sql.SQL("GRANT SELECT ON analytics_users TO {}").format(sql.Identifier(role)))
            assert _run("access", "grant", role, "--company", "acme").exit_code == 0
            backup = _backup(tmp_path / "place")
            assert _run("access", "revoke", role, "--company", "acme").exit_code == 0
            _drop_role(admin, role)

            settings.setenv("ANALYTICS_DATABASE_URL", empty)
            result = _run("restore", backup)
            assert f'CREATE ROLE "{role}" LOGIN;' in result.output
            with psycopg.connect(empty) as connection:
                assert connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is None

            admin.execute(make)
            result = _run("restore", backup)
            assert result.exit_code == 0, result.output
            assert f"no longer holds  {role}: acme" in result.output
            assert json.loads(_run("access", "list", "--json").stdout)[0]["holds"] is False
            assert _run("access", "confirm", "--all").stdout == f"{role} may read acme again.\n"
            assert json.loads(_run("access", "list", "--json").stdout)[0]["holds"] is True
        finally:
            with psycopg.connect(empty, autocommit=True) as connection, suppress(psycopg.Error):
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            with suppress(psycopg.errors.UndefinedObject):
                _drop_role(admin, role)


def _drop_role(admin: "psycopg.Connection[tuple[object, ...]]", role: str) -> None:
    admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
    admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_role_that_may_not_read_everything_or_make_databases_is_told_what_to_use(
    source: Database, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backup = _backup(tmp_path / "place")
    role = f"stranger_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(source.url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        try:
            settings.setenv("ANALYTICS_DATABASE_URL", source.url.replace("//postgres@", f"//{role}@"))
            result = _run("backup", str(tmp_path / "other"))
            assert result.exit_code == 1
            assert "permission denied for table" in result.output
            assert "make backups as the owner of the tables, or a superuser" in result.output
            assert list_backups(str(tmp_path / "other")) == []
            result = _run("restore", backup, "--rehearse")
            assert f"The role {role} may not make a database to restore into" in result.output
            assert "ANALYTICS_REHEARSAL_URL" in result.output
        finally:
            _drop_role(admin, role)


def test_no_chunk_is_compressed_between_the_snapshot_of_a_backup_and_its_dump(
    source: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tried = []

    def compress_first(*arguments: Any) -> Content:
        with psycopg.connect(source.url, autocommit=True) as connection:
            connection.execute("SET lock_timeout = '200ms'")
            try:
                connection.execute("SELECT compress_chunk(c, true) FROM show_chunks('analytics_events') AS c")
            except psycopg.errors.LockNotAvailable as error:
                tried.append(error)
        return read_content(*arguments)

    # A chunk compressed here is empty in the dump, and what it was compressed to is not in it: no event would be left.
    monkeypatch.setattr(backup_module, "read_content", compress_first)
    _backup(tmp_path / "place")
    assert len(tried) == 1


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_backup_that_is_ended_leaves_none_that_looks_whole(
    number: signal.Signals, source: Database, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    # It is dumped and not counted: pg_dump waits for it when the file is there.
    with (
        connect(source.settings, autocommit=True) as connection,
        locked(connection, "_timescaledb_catalog.metadata"),
        running("backup", str(place)) as command,
    ):
        command.until(lambda: list(place.glob("*/database.dump")))
        command.send(number)
        command.result()
    assert whole_backups(str(place)) == []
    left = list_backups(str(place))
    assert len(left) == (number is signal.SIGKILL)
    for backup in left:
        result = _run("restore", backup.location, "--check")
        assert "it is no backup, or one that was not finished" in result.output


def test_the_password_of_the_database_is_not_in_the_arguments_of_the_programs(
    source: Database, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "pg_dump"
    assert SERVER_URL is not None
    major = psycopg.connect(SERVER_URL).info.server_version // 10_000
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) {major}.0" && exit\n'
        'echo "pg_dump: error: $*" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    settings.setenv("ANALYTICS_PG_BIN", str(program.parent))
    settings.setenv("ANALYTICS_DATABASE_URL", source.url.replace("@", ":secret@"))
    result = _run("backup", str(tmp_path / "place"))
    assert result.exit_code == 1
    assert "pg_dump failed: --format=custom" in result.output
    assert "secret" not in result.output


@pytest.mark.slow
def test_dagster_makes_a_backup_and_its_check_restores_the_newest_aside(
    source: Database, settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    settings.setenv("ANALYTICS_BACKUPS", str(place))
    get_settings.cache_clear()
    definitions = build_definitions(get_settings())
    with DagsterInstance.ephemeral() as instance:

        def execute(job: str) -> dict[str, AssetCheckEvaluation]:
            result = definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
            assert result.success
            return {check.check_name: check for check in result.get_asset_check_evaluations()}

        assert execute("backups_daily") == {}
        (backup,) = whole_backups(str(place))
        event = instance.get_latest_materialization_event(AssetKey("backups"))
        assert event is not None
        assert event.asset_materialization is not None
        assert event.asset_materialization.metadata["backups kept"].value == 1
        check = execute("backups_rehearsal")["newest_backup_restores"]
        assert check.passed
        with psycopg.connect(source.url) as connection:
            query = "SELECT count(*) FROM pg_database WHERE datname LIKE 'analytics_rehearsal_%'"
            assert fetch_row(connection, query) == (0,)
        file = Path(backup.path.path) / "database.dump"
        file.write_bytes(file.read_bytes()[:-1])
        check = execute("backups_rehearsal")["newest_backup_restores"]
        assert not check.passed
        assert check.description is not None
        assert f"{file} is damaged" in check.description
