"""``up`` as people use it: one for each home, which keeps running what it runs, and cancels it in the end."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus

from analytics_pipeline.embedded import EmbeddedPostgres
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.instance import dagster_environment
from analytics_pipeline.settings import get_settings
from analytics_pipeline.supervisor.output import Output
from analytics_pipeline.supervisor.parts import Service, Watch
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.commands import Command, is_waiting, locked, running
from analytics_pipeline_tests.conftest import SERVER_URL, Database

LAUNCH = """
mutation ($job: String!) {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "analytics_pipeline", repositoryName: "__repository__", jobName: $job
    }
  }) { ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}
"""
TERMINATE = "mutation ($run: String!) { terminateRun(runId: $run) { __typename } }"


@pytest.fixture
def home(database: Database, environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A home with a storage of its own; nothing is started."""
    environment.delenv("DAGSTER_HOME", raising=False)
    environment.delenv("DAGSTER_POSTGRES_URL", raising=False)
    environment.setenv("ANALYTICS_HOME", str(tmp_path))
    # Little is missing for the sensors to close meanwhile.
    environment.setenv("ANALYTICS_START", f"{datetime.now(UTC):%Y-%m}-01")
    get_settings.cache_clear()
    yield tmp_path
    EmbeddedPostgres(tmp_path).stop()


class Up:
    """A running ``up`` whose console is kept."""

    def __init__(self, command: Command, home: Path, port: int) -> None:
        self._command, self._home, self.port = command, home, port
        assert command.process.stdout is not None
        os.set_blocking(command.process.stdout.fileno(), False)
        self.console = ""

    def until_said(self, text: str) -> None:
        self._command.until(lambda: text in self._read())

    def service(self, name: str) -> int:
        claim = json.loads((self._home / "up.lock").read_text())
        return int(claim["services"][name])

    def ask(self, query: str, **variables: object) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def launch(self, job: str) -> str:
        return str(self.ask(LAUNCH, job=job)["launchRun"]["run"]["runId"])

    def _read(self) -> str:
        assert self._command.process.stdout is not None
        self.console += (self._command.process.stdout.read() or b"").decode()
        return self.console


def running_up(port: int) -> AbstractContextManager[Command]:
    """Run ``up`` with Dagster's UI at a port and the API at the next one."""
    return running("up", "--port", str(port), "--api-port", str(port + 1))


@pytest.mark.faults
@pytest.mark.daemon
def test_a_home_has_one_up_which_can_be_killed_and_started_again_and_starts_again_what_is_killed(
    home: Path, port: int
) -> None:
    with running_up(port) as first:
        up = Up(first, home, port)
        up.until_said(f"Dagster's UI is at http://127.0.0.1:{port}")
        with running_up(port + 2) as second:
            code, _, said = second.result(within=None)
        assert (code, f"already at http://127.0.0.1:{port} (process {first.process.pid})" in said) == (1, True), said
        left = up.service("web server")
    with running_up(port) as again:
        up = Up(again, home, port)
        up.until_said(f"Dagster's UI is at http://127.0.0.1:{port}")
        assert not Path(f"/proc/{left}").exists(), "what the killed one left would serve the port"
        os.kill(up.service("daemon"), signal.SIGKILL)
        up.until_said("The daemon runs again.")
        os.kill(up.service("API"), signal.SIGKILL)
        up.until_said("The API runs again.")
        services = [up.service(name) for name in ("code server", "daemon", "web server", "API")]
        again.send(signal.SIGTERM)
        code, rest, said = again.result()
        assert (code, said) == (143, "SIGTERM: Dagster is stopped.\n")
        assert not any(Path(f"/proc/{pid}").exists() for pid in services)
        assert "The storage of Dagster keeps running: it ran before." in rest
        assert EmbeddedPostgres(home).status().running
        assert " - DEBUG - " not in up.console + rest


@pytest.mark.faults
@pytest.mark.daemon
@pytest.mark.skipif(SERVER_URL is None, reason="only a server can cancel a statement")
def test_a_run_that_is_ended_in_the_ui_or_with_up_is_cancelled_and_so_is_its_statement(
    database: Database, home: Path, port: int, environment: pytest.MonkeyPatch
) -> None:
    with (
        database.connect(autocommit=True) as connection,
        running_up(port) as command,
        ExitStack() as locks,
    ):
        up = Up(command, home, port)
        up.until_said("Dagster's UI is at")
        # The first ticks read that table, too; all the others leave it alone.
        command.until(lambda: fetch_row(connection, "SELECT count(*) FROM analytics_partition_adoptions")[0] > 0)
        locks.enter_context(locked(connection, "analytics_schema_migrations"))
        for name, value in dagster_environment(get_settings()).items():
            environment.setenv(name, value)
        with DagsterInstance.get() as instance:

            def status(run: str) -> DagsterRunStatus:
                found = instance.get_run_by_id(run)
                assert found is not None
                return found.status

            in_ui = up.launch("hypertable_setup")
            command.until(lambda: is_waiting(connection))
            assert up.ask(TERMINATE, run=in_ui)["terminateRun"]["__typename"] == "TerminateRunSuccess"
            command.until(lambda: status(in_ui) is DagsterRunStatus.CANCELED)
            assert not is_waiting(connection)
            events = {entry.dagster_event_type for entry in instance.all_logs(in_ui)}
            assert DagsterEventType.STEP_UP_FOR_RETRY not in events
            with_up = up.launch("hypertable_setup")
            command.until(lambda: is_waiting(connection))
            command.send(signal.SIGINT)
            code, rest, said = command.result()
            assert (code, status(with_up)) == (130, DagsterRunStatus.CANCELED), rest + said
            assert not is_waiting(connection)
        # This process uses it.
        assert "The storage of Dagster keeps running: another program uses it." in rest


def test_failures_of_one_asset_are_shown_once_for_each_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failure(number: int, reason: str) -> str:
        run = f"00000000-0000-0000-0000-{number:012}"
        moment = f"2025-01-31 10:00:{number:02} +0000 - dagster - ERROR"
        step = 'daily - STEP_FAILURE - Execution of step "daily" failed.'
        return f"{moment} - daily_aggregates - {run} - 4711 - {step}\n\ndagster.Failure: {reason}\n\n"

    reasons = ["the disk is full", "the disk is full", "no connection to 10.0.0.7", "no connection to 10.0.0.8"]
    log = "".join(failure(number, reason) for number, reason in enumerate(reasons))
    Output(tmp_path / "up.log").follow("daemon", BytesIO(log.encode())).reader.join()
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[1::2]] == ["the disk is full", "no connection to 10.0.0.7"]
    assert all("run 00000000-0000-0000-0000-" in line for line in lines[::2])
    assert (tmp_path / "up.log").read_text().count("STEP_FAILURE") == 4


def test_a_part_that_ends_again_and_again_ends_all_with_the_reason(tmp_path: Path) -> None:
    said: list[str] = []
    broken = Service(
        "daemon", ["json.tool", "missing.json"], {**os.environ, "DAGSTER_HOME": str(tmp_path)}, Output(tmp_path / "log")
    )
    broken.start()
    watch = Watch([broken], said.append, pauses=(0, 0))

    def watch_on() -> None:
        while True:
            watch.check()

    with pytest.raises(AnalyticsError, match=r"The daemon was started 2 times .* status 2.*missing\.json"):
        watch_on()
    assert len(said) == 2
    assert "missing.json" in (tmp_path / "log").read_text()
