"""A dead process holds nothing up: its runs are ended by whoever looks next, and those of a live one never are."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from click.testing import CliRunner
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    Definitions,
    RunsFilter,
)
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from analytics_pipeline.cli import main
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.runs import dead_runs, sign_of_life
from analytics_pipeline.orchestration.runs.dead_runs import fail_dead_runs
from analytics_pipeline.orchestration.runs.run_owner import Owner, never_began
from analytics_pipeline.orchestration.runs.sign_of_life import RunLostError
from analytics_pipeline.orchestration.runs.sign_of_life import sign_of_life as signing
from analytics_pipeline.orchestration.runs.tags import CLOSE
from analytics_pipeline.orchestration.runs.tags import REASON as REASON_TAG
from analytics_pipeline.processes import process_stat
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

HOURLY = "analytics_revenue_hourly"
KEY = "2025-01-05-10:00"
HOUR = Window(at("2025-01-05T10:00"), at("2025-01-05T11:00"))
JANUARY = Window.of_month(date(2025, 1, 1))
KILLED = 13
needs_sessions = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
UNFINISHED = RunsFilter(
    statuses=[s for s in DagsterRunStatus if s.value not in ("SUCCESS", "FAILURE", "CANCELED", "MANAGED")]
)


@pytest.fixture(autouse=True)
def _quick_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_runs, "_SECOND_PROBE_SECONDS", 0.05)


@pytest.fixture(scope="module")
def ended() -> Owner:
    """A process of this machine that has ended."""
    process = subprocess.Popen(["sleep", "60"])
    owner = replace(Owner.this_process(), pid=process.pid, started=str(process_stat(process.pid)[1]))
    assert not owner.has_ended()
    process.kill()
    process.wait()
    return owner


def _run(instance: DagsterInstance, owner: Owner, status: DagsterRunStatus = DagsterRunStatus.STARTED) -> DagsterRun:
    """Leave the record of a run of ``close`` over an hour, as that process does."""
    run_id = str(uuid4())
    tags = {
        "dagster/asset_partition_range_start": KEY,
        "dagster/asset_partition_range_end": KEY,
        REASON_TAG: CLOSE,
        **owner.tags(run_id),
    }
    selection = frozenset({AssetKey(HOURLY)})
    run: DagsterRun = create_run_for_test(
        instance, "hourly_aggregates", run_id=run_id, status=status, tags=tags, asset_selection=selection
    )
    return run


def _status(instance: DagsterInstance, run: DagsterRun) -> DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def _silence(instance: DagsterInstance, run: DagsterRun) -> None:
    """Let the last sign of a run be an hour old."""
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    instance.run_storage.set_cursor_values({sign_of_life._key(run.run_id): an_hour_ago.isoformat()})


@pytest.mark.parametrize(
    ("left", "becomes"),
    [
        (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.FAILURE),
        (DagsterRunStatus.STARTED, DagsterRunStatus.FAILURE),
        (DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED),
    ],
)
def test_the_run_of_a_process_that_has_ended_is_ended_at_once(
    instance: DagsterInstance, ended: Owner, left: DagsterRunStatus, becomes: DagsterRunStatus
) -> None:
    run = _run(instance, ended, left)
    (sentence,) = fail_dead_runs(instance, get_settings())
    assert run.run_id in sentence
    assert f"process {ended.pid} on {ended.host}" in sentence
    assert _status(instance, run) is becomes
    assert fail_dead_runs(instance, get_settings()) == []


def test_a_process_id_that_another_process_has_now_is_not_the_same_process(instance: DagsterInstance) -> None:
    run = _run(instance, replace(Owner.this_process(), started="1"))
    assert len(fail_dead_runs(instance, get_settings())) == 1
    assert _status(instance, run) is DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("namespace", "boot_id"),
    [("pid:[1]", None), (None, "another machine"), (None, "")],
    ids=["container", "host", "Mac"],
)
def test_of_a_process_that_cannot_be_seen_from_here_the_sign_of_life_decides(
    instance: DagsterInstance, ended: Owner, namespace: str | None, boot_id: str | None
) -> None:
    elsewhere = replace(
        ended,
        pid_namespace=ended.pid_namespace if namespace is None else namespace,
        boot_id=ended.boot_id if boot_id is None else boot_id,
    )
    alive, silent = _run(instance, elsewhere), _run(instance, elsewhere)
    _silence(instance, silent)
    with signing(instance, alive.run_id):
        assert len(fail_dead_runs(instance, get_settings())) == 1
    assert _status(instance, alive) is DagsterRunStatus.STARTED
    assert _status(instance, silent) is DagsterRunStatus.FAILURE


def test_whoever_gives_a_sign_after_a_long_silence_of_all_is_left_alone(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(instance, Owner.this_process())
    with signing(instance, run.run_id) as sign:
        _silence(instance, run)
        # The storage was down, or the machine suspended, for an hour: everybody goes on at about the same time.
        monkeypatch.setattr(time, "sleep", lambda _: sign.renew())
        assert fail_dead_runs(instance, get_settings()) == []
        sign.renew()
    assert _status(instance, run) is DagsterRunStatus.STARTED


def test_a_run_that_was_given_up_is_lost_for_the_process_that_comes_back(instance: DagsterInstance) -> None:
    run = _run(instance, Owner.this_process())
    with signing(instance, run.run_id) as sign:
        _silence(instance, run)
        assert len(fail_dead_runs(instance, get_settings())) == 1
        with pytest.raises(RunLostError, match=f"{run.run_id} was marked failed, because this process gave"):
            sign.renew()


@pytest.mark.slow
def test_a_cancellation_in_the_ui_reaches_the_process(instance: DagsterInstance) -> None:
    run = _run(instance, Owner.this_process())
    with signing(instance, run.run_id) as sign:
        sign.renew()
        instance.report_run_canceling(run)
        with pytest.raises(RunLostError, match="was cancelled in the Dagster UI"):
            sign.renew()


def test_how_the_process_itself_ends_its_run_is_no_loss(instance: DagsterInstance) -> None:
    run = _run(instance, Owner.this_process())
    with signing(instance, run.run_id) as sign:
        sign.settle()
        instance.report_run_failed(run)
        sign.renew()


@pytest.mark.slow
def test_a_run_that_inherits_the_tags_of_another_belongs_to_nobody(instance: DagsterInstance, ended: Owner) -> None:
    parent = _run(instance, ended)
    again = create_run_for_test(
        instance, "hourly_aggregates", status=DagsterRunStatus.STARTED, tags=dict(parent.tags), parent_run_id=None
    )
    assert len(fail_dead_runs(instance, get_settings())) == 1
    assert _status(instance, again) is DagsterRunStatus.STARTED


def test_dead_runs_leave_the_places_of_the_run_queue(instance: DagsterInstance, ended: Owner) -> None:
    location = RegisteredCodeLocationOrigin("analytics_pipeline")
    origin = RemoteRepositoryOrigin(location, "__repository__").get_job_origin("checks")
    queued = create_run_for_test(instance, "checks", status=DagsterRunStatus.QUEUED, remote_job_origin=origin)
    config = instance.get_concurrency_config()
    assert config.run_queue_config is not None
    for _ in range(config.run_queue_config.max_concurrent_runs):
        _run(instance, ended)

    def next_runs() -> list[str]:
        queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
        return [run.run_id for run in queue._get_runs_to_dequeue(instance, config, fixed_iteration_time=None)]

    assert next_runs() == []
    fail_dead_runs(instance, get_settings())
    assert next_runs() == [queued.run_id]


@pytest.mark.slow
def test_what_is_closed_stays_closed_when_a_process_dies_before_its_run_began(
    database: Database, instance: DagsterInstance, ended: Owner
) -> None:
    instance.report_runless_asset_event(AssetMaterialization(HOURLY, partition=KEY))
    run = _run(instance, ended, DagsterRunStatus.NOT_STARTED)
    assert _state(database, instance).runs_over(HOURLY, HOUR)
    fail_dead_runs(instance, get_settings())
    state = _state(database, instance)
    assert not state.runs_over(HOURLY, HOUR)
    assert state.is_closed(HOURLY, HOUR)
    assert never_began(instance.get_run_records(RunsFilter(run_ids=[run.run_id]))[0])


@pytest.mark.slow
@pytest.mark.parametrize("looker", ["close", "doctor", "the daemon"])
def test_whoever_looks_next_ends_dead_runs(
    database: Database, instance: DagsterInstance, definitions: Definitions, ended: Owner, looker: str
) -> None:
    run = _run(instance, ended)
    if looker == "close":
        close_span(definitions, get_settings(), instance, HOUR)
    elif looker == "doctor":
        assert f"Marked failed: process {ended.pid} on {ended.host}" in CliRunner().invoke(main, ["doctor"]).output
    else:
        ticks = Ticks(definitions, instance, "dead_runs")
        ticks.tick()
        assert run.run_id in (ticks.skipped or "")
    assert _status(instance, run) is DagsterRunStatus.FAILURE


@pytest.mark.endurance
@pytest.mark.faults
def test_thirteen_killed_closes_hold_nothing_up(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        for day in range(1, 32):
            add_event(connection, f"2025-01-{day:02}T12:00", value="10.01", user_id=f"u{day}")
    for number in range(KILLED):
        _close_and(signal.SIGKILL, instance, after=0.1 * number)
    left = instance.get_runs(UNFINISHED)
    assert left
    Ticks(definitions, instance, "dead_runs").tick()
    assert instance.get_runs(UNFINISHED) == []
    state = _state(database, instance)
    assert not state.runs_over(HOURLY, JANUARY)
    attempts = {failed.attempts for failed in state.failed(HOURLY)}
    assert attempts <= {0}, "killing a command is no reason not to try again"
    close_span(definitions, get_settings(), instance, JANUARY)
    assert _state(database, instance).failed(HOURLY) == []
    late = Ticks(definitions, instance, "late_events")
    assert late.tick() == []
    assert late.skipped == "No event has changed in a closed partition."


@pytest.mark.faults
@pytest.mark.parametrize("after", [0.0, 0.1, 0.5])
def test_an_early_interrupt_leaves_no_unfinished_run(
    database: Database, instance: DagsterInstance, after: float
) -> None:
    process = _close_and(signal.SIGINT, instance, after)
    assert process.exitcode == 1
    assert instance.get_runs(UNFINISHED) == []


@needs_sessions
@pytest.mark.faults
def test_the_run_of_a_killed_worker_is_found_dead_too(database: Database, instance: DagsterInstance) -> None:
    """Dagster's code server notices a worker that dies; nobody notices if it is killed with its workers."""
    hours = {"dagster/asset_partition_range_start": KEY, "dagster/asset_partition_range_end": KEY}
    command = ["job", "execute", "-m", "analytics_pipeline.definitions", "-j", "hourly_aggregates"]
    command += ["--tags", json.dumps(hours)]
    with _held_up(database):
        worker = subprocess.Popen(
            [sys.executable, "-m", "dagster", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_until(lambda: any(Owner.of(run) for run in instance.get_runs(UNFINISHED)))
        assert fail_dead_runs(instance, get_settings()) == []
        worker.kill()
        worker.wait()
    (run,) = instance.get_runs(UNFINISHED)
    assert len(fail_dead_runs(instance, get_settings())) == 1
    assert _status(instance, run) is DagsterRunStatus.FAILURE


@needs_sessions
@pytest.mark.faults
def test_a_long_step_is_alive_and_a_stopped_process_does_not_report_success_over_its_failed_run(
    database: Database, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_of_life, "_BEAT_SECONDS", 0.1)
    # Every look takes every process for silent at first.
    monkeypatch.setattr(sign_of_life, "_SILENT_AFTER", timedelta(hours=-1))
    monkeypatch.setattr(dead_runs, "_SECOND_PROBE_SECONDS", 3.0)
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
    with _held_up(database):
        process = _forked(_close_january)
        _wait_until(lambda: _statuses(instance) == [DagsterRunStatus.STARTED])
        assert fail_dead_runs(instance, get_settings()) == []
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        assert len(fail_dead_runs(instance, get_settings())) == 1
        os.kill(process.pid, signal.SIGCONT)
    process.join()
    assert process.exitcode == 1
    assert _statuses(instance) == [DagsterRunStatus.FAILURE]
    assert not _state(database, instance).is_closed(HOURLY, HOUR)


def _state(database: Database, instance: DagsterInstance) -> PartitionState:
    with database.connect(autocommit=True) as connection:
        return PartitionState(instance, connection, get_settings(), datetime.now(UTC))


@contextmanager
def _held_up(database: Database) -> Iterator[None]:
    """Keep every step that reads events waiting."""
    with database.connect() as connection:
        connection.execute("LOCK TABLE analytics_events IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def _close_january() -> None:
    with DagsterInstance.get() as instance:
        close_span(build_definitions(get_settings()), get_settings(), instance, JANUARY)


def _close_and(number: signal.Signals, instance: DagsterInstance, after: float) -> multiprocessing.process.BaseProcess:
    """Send a command a signal so many seconds after it has made its first run, and wait until it has ended."""
    runs = instance.get_runs_count()
    process = _forked(_close_january)
    _wait_until(lambda: instance.get_runs_count() > runs)
    time.sleep(after)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()
    return process


def _forked(target: Callable[[], None]) -> multiprocessing.process.BaseProcess:
    """Start a process that is a copy of this one: a command without the seconds that its imports take."""
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    return process


def _statuses(instance: DagsterInstance) -> list[DagsterRunStatus]:
    return [run.status for run in instance.get_runs()]


def _wait_until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.02)
