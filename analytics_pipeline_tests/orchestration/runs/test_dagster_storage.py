"""Dagster's own storage fails: it is waited for, and then there is one line, and nothing half done."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy.pool
from click.testing import CliRunner
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from analytics_pipeline.cli import main
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.orchestration.close import close_span, set_up_with_instance
from analytics_pipeline.orchestration.runs import command_runs
from analytics_pipeline.orchestration.runs import dagster_storage as storage
from analytics_pipeline.orchestration.runs.dagster_storage import StorageError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

DAY = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
RESTARTS = 4
NOWHERE = "postgresql://nobody:secret@127.0.0.1:1/none"


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0.02)
    monkeypatch.setattr(storage, "_PAUSES_SECONDS", (0.1, 0.1))
    monkeypatch.setattr(command_runs, "_PAUSE_SECONDS", 0.1)


@pytest.fixture
def own_storage(dagster_home: Path, tmp_path: Path, environment: pytest.MonkeyPatch) -> Iterator[EmbeddedPostgres]:
    """A storage of its own for one test, which may stop it; connections are made as Dagster makes them."""
    server = EmbeddedPostgres(tmp_path / "own")
    server.start()
    environment.setenv("DAGSTER_POSTGRES_URL", server.url)
    environment.setattr(sqlalchemy.pool, "NullPool", sqlalchemy.pool.impl.NullPool)
    get_settings.cache_clear()
    yield server
    server.stop()


@pytest.mark.parametrize(
    "command",
    ["close --start 2025-01-05 --end 2025-01-06", "up --port {} --api-port {}"],
    ids=lambda command: command.split()[0],
)
@pytest.mark.usefixtures("short_pauses")
def test_a_storage_that_is_down_is_one_line_and_status_1(
    dagster_home: Path, environment: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], port: int, command: str
) -> None:
    environment.setenv("DAGSTER_POSTGRES_URL", NOWHERE)
    get_settings.cache_clear()
    result = CliRunner().invoke(main, command.format(port, port + 1).split())
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if not line.startswith("Starting the databases")]
    assert line.startswith("Error: Dagster's storage 127.0.0.1:1/none can't be used: connection to server")
    assert line.endswith("Check DAGSTER_POSTGRES_URL and the server, and repeat the command.")
    assert "secret" not in line
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("short_pauses")
def test_a_storage_without_a_free_connection_says_so(instance: DagsterInstance, storage_home: Path) -> None:
    url = EmbeddedPostgres(storage_home).url
    with psycopg.connect(url, autocommit=True) as admin, pytest.MonkeyPatch.context() as environment:
        admin.execute("DROP ROLE IF EXISTS crowded")
        admin.execute("CREATE ROLE crowded LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
        environment.setenv("DAGSTER_POSTGRES_URL", f"postgresql://crowded:x@{url.partition('@')[2]}")
        get_settings.cache_clear()
        with pytest.raises(StorageError, match="too many connections"):
            set_up_with_instance(get_settings(), reason="demo")


@pytest.mark.faults
def test_a_restart_of_the_storage_in_the_middle_of_a_close_is_waited_for(
    database: Database, own_storage: EmbeddedPostgres, capfd: pytest.CaptureFixture[str]
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
    settings = get_settings()
    with DagsterInstance.get() as instance:
        ended = threading.Event()

        def restart() -> None:
            for _ in range(RESTARTS):
                _wait_for_a_run(instance, ended)
                own_storage.stop()
                own_storage.start()
                ended.wait(1)

        restarts = threading.Thread(target=restart)
        restarts.start()
        try:
            closed = close_span(build_definitions(settings), settings, instance, DAY)
        finally:
            ended.set()
            restarts.join()
        assert [(run.job, run.partitions) for run in closed] == [("hourly_aggregates", 24), ("daily_aggregates", 1)]
        statuses = {run.run_id: run.status for run in instance.get_runs()}
        assert all(statuses[run.run_id] is DagsterRunStatus.SUCCESS for run in closed)
        assert all(status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE) for status in statuses.values())
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.faults
@pytest.mark.usefixtures("short_pauses")
def test_a_storage_that_stays_away_in_the_middle_of_a_close_ends_it_in_one_line(
    database: Database, own_storage: EmbeddedPostgres, capfd: pytest.CaptureFixture[str]
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
    settings = get_settings()
    with DagsterInstance.get() as instance:

        def stop() -> None:
            _wait_for_a_run(instance, threading.Event())
            own_storage.stop()

        threading.Thread(target=stop).start()
        with pytest.raises(StorageError, match="can't be used") as raised:
            close_span(build_definitions(settings), settings, instance, DAY)
    assert "\n" not in str(raised.value)
    out, err = capfd.readouterr()
    # What a server says to a connection that is being made, the driver's library prints by itself.
    assert (out, [line for line in err.splitlines() if not line.startswith("FATAL:")]) == ("", [])


def _wait_for_a_run(instance: DagsterInstance, ended: threading.Event) -> None:
    while not ended.is_set() and not instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
        time.sleep(0.02)
