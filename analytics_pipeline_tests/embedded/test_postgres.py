"""Dagster's own storage on one machine: a PostgreSQL that anybody can start and nobody else reach."""

import os
import re
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline_tests.embedded.conftest import run_python, value


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server in a home with a space that only its owner can enter."""
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("a home"))
    embedded.start()
    yield embedded
    embedded.stop()


def test_life_of_a_server(postgres: EmbeddedPostgres) -> None:
    pid = postgres.status().pid
    postgres.start()
    assert postgres.status().pid == pid
    with psycopg.connect(postgres.url) as connection:
        assert value(connection, "SELECT current_database()") == "dagster"
        connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
    postgres.stop()
    assert str(postgres.status()) == "stopped"
    postgres.start()
    # What was stopped cleanly has nothing to recover: it starts at once.
    assert "database system was not properly shut down" not in postgres.log_file.read_text()
    with psycopg.connect(postgres.url) as connection:
        assert value(connection, "SELECT a FROM kept") == 1


@pytest.mark.faults
def test_killed_server_keeps_what_was_committed(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE TABLE committed AS SELECT 1 AS a")
    pid = postgres.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while postgres.status().state != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # The number in the stale pid file is in use again: by this process.
    pid_file = postgres.data_dir / "postmaster.pid"
    pid_file.write_text(re.sub(r"^\d+", str(os.getpid()), pid_file.read_text()))
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        assert value(connection, "SELECT a FROM committed") == 1


def test_nobody_else_can_enter(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.url) as connection:
        assert value(connection, "SHOW listen_addresses") == ""
        folders = (Path(connection.info.host), postgres.data_dir)
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700, 0o700]
    assert stat.S_IMODE((postgres.folder / "password").stat().st_mode) == 0o600
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(re.sub(r":[^:@/]+@", ":wrong@", postgres.url))


@pytest.mark.slow
def test_processes_that_start_it_at_once_get_one_server(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from analytics_pipeline.embedded import EmbeddedPostgres\n"
        "embedded = EmbeddedPostgres(Path(sys.argv[1])); embedded.start()\n"
        "import psycopg; psycopg.connect(embedded.url).close(); print(embedded.status().pid)"
    )
    embedded = EmbeddedPostgres(tmp_path / ("deep/" * 30))
    starters = [run_python(code, str(embedded.folder.parent)) for _ in range(3)]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    assert answers == {f"{embedded.status().pid}\n"}
    embedded.stop()


def test_never_started(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path)
    assert str(embedded.status()) == "stopped"
    with pytest.raises(AnalyticsError, match="has not been started"):
        _ = embedded.url


@pytest.mark.slow
def test_dagster_storage(postgres: EmbeddedPostgres) -> None:
    from dagster_postgres import DagsterPostgresStorage  # takes a second to import

    storage = DagsterPostgresStorage(postgres.url)
    try:
        assert storage.run_storage.get_runs() == []
        assert list(storage.event_log_storage.all_asset_keys()) == []
        assert list(storage.schedule_storage.all_instigator_state()) == []
        with psycopg.connect(postgres.url) as connection:
            assert value(connection, "SELECT to_regclass('event_logs') IS NOT NULL")
    finally:
        storage.event_log_storage.dispose()
