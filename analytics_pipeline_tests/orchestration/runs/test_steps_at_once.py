"""The steps of a closing run on a server: several at once, in the order that nothing has to be computed twice."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    In,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    ResourceDefinition,
    RetryPolicy,
    execute_job,
    job,
    op,
    reconstructable,
    success_hook,
)

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.orchestration import shared
from analytics_pipeline.orchestration.resources import TimescaleResource
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.orchestration.runs.tags import FIGURES, OTHERS, REFRESH, STATEMENTS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.commands import is_waiting, locked
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event


class Steps:
    """What steps of a job were at work together, and in which order they began."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.together: list[frozenset[str]] = []
        self.lock = threading.Lock()
        self.running: set[str] = set()

    def make(
        self,
        name: str,
        does: str | None = OTHERS,
        after: tuple[str, ...] = (),
        work: Callable[[], None] = lambda: time.sleep(0.2),
        **options: Any,
    ) -> Any:
        @op(
            name=name,
            pool=shared.POOL,
            required_resource_keys={"timescale"},
            tags={STATEMENTS: does} if does else {},
            ins={each: In(Nothing) for each in after},
            **options,
        )
        def _step(context: OpExecutionContext) -> None:
            with self.lock:
                self.began.append(name)
                self.running.add(name)
                self.together.append(frozenset(self.running))
            try:
                work()
            finally:
                with self.lock:
                    self.running.remove(name)

        return _step

    @property
    def most(self) -> int:
        return max(map(len, self.together))


STEPS = Steps()


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(sys.modules[__name__], "STEPS", steps)
    return steps


class Server(TimescaleResource):
    """One to which the steps of this module make no connection."""

    def sessions_of_run(self) -> int:
        return self.settings.closing_sessions


DATABASE = {"timescale": ResourceDefinition.hardcoded_resource(Server())}


def of_parts() -> JobDefinition:
    @job(executor_def=owning_executor, resource_defs=DATABASE)
    def parts() -> None:
        for name in ("one", "two", "three", "four"):
            STEPS.make(name)()

    return parts


def on_the_database_of_the_tests() -> JobDefinition:
    @job(
        executor_def=owning_executor,
        resource_defs={"timescale": ResourceDefinition.hardcoded_resource(TimescaleResource())},
    )
    def parts() -> None:
        for name in ("one", "two"):
            STEPS.make(name)()

    return parts


def of_parts_that_say_nothing() -> JobDefinition:
    @job(executor_def=owning_executor, resource_defs=DATABASE)
    def parts() -> None:
        for name in ("one", "two", "three"):
            STEPS.make(name, None if name == "two" else OTHERS)()

    return parts


def with_a_hook() -> JobDefinition:
    @success_hook
    def _hook(_: object) -> None:
        STEPS.began.append("hook")

    @job(executor_def=owning_executor, resource_defs=DATABASE, hooks={_hook})
    def parts() -> None:
        for name in ("one", "two"):
            STEPS.make(name)()

    return parts


def of_refreshes_and_figures() -> JobDefinition:
    @job(executor_def=owning_executor, resource_defs=DATABASE)
    def parts() -> None:
        STEPS.make("figures", FIGURES)()
        STEPS.make("a_refresh", REFRESH)()
        STEPS.make("long_refresh", REFRESH, work=lambda: time.sleep(0.6))()
        first = STEPS.make("most_wait_for", REFRESH)()
        STEPS.make("proof", after=("first",))(first)
        STEPS.make("built_on_it", FIGURES, after=("first",))(first)

    return parts


def with_a_failure() -> JobDefinition:
    def fail() -> None:
        raise ValueError("no figures")

    def fail_at_first() -> None:
        if STEPS.began.count("repeated") == 1:
            raise ValueError("not yet")

    @job(executor_def=owning_executor, resource_defs=DATABASE)
    def parts() -> None:
        failed = STEPS.make("failed", work=fail)()
        STEPS.make("built_on_it", after=("first",))(failed)
        STEPS.make("beside_it", work=lambda: time.sleep(0.4))()
        STEPS.make("repeated", work=fail_at_first, retry_policy=RetryPolicy(max_retries=1, delay=0.1))()

    return parts


def run(instance: DagsterInstance, make: Callable[[], JobDefinition]) -> tuple[bool, list[str]]:
    """Execute a job of this module; return whether it succeeded, and what its run's log says of each step."""
    with execute_job(reconstructable(make), instance=instance) as result:
        told = [
            f"{entry.dagster_event.step_key} {entry.dagster_event.event_type_value}"
            for entry in instance.all_logs(result.run_id)
            if entry.dagster_event and entry.dagster_event.step_key
        ]
        return result.success, told


def test_as_many_steps_of_a_run_are_at_work_at_once_as_the_setting_says(
    instance: DagsterInstance, steps: Steps, environment: pytest.MonkeyPatch
) -> None:
    for sessions in ("2", "3", "1"):
        environment.setenv("ANALYTICS_CLOSING_SESSIONS", sessions)
        get_settings.cache_clear()
        steps.together.clear()
        success, told = run(instance, of_parts)
        assert (success, steps.most) == (True, int(sessions))
        for step in ("one", "two", "three", "four"):
            assert [line for line in told if line.startswith(f"{step} ")] == [
                f"{step} STEP_START",
                f"{step} STEP_OUTPUT",
                f"{step} STEP_SUCCESS",
            ]


@pytest.mark.parametrize("make", [of_parts_that_say_nothing, with_a_hook])
def test_a_run_with_a_step_that_is_more_than_statements_or_with_hooks_is_left_to_dagster(
    instance: DagsterInstance, steps: Steps, make: Callable[[], JobDefinition]
) -> None:
    assert run(instance, make)[0]
    assert steps.most == 1
    assert steps.began.count("hook") == (2 if make is with_a_hook else 0)


def test_the_embedded_database_is_asked_by_one_step_at_a_time(instance: DagsterInstance, steps: Steps) -> None:
    if SERVER_URL is not None:
        pytest.skip("the tests work on a server")
    assert run(instance, on_the_database_of_the_tests)[0]
    assert steps.most == 1


def test_what_most_wait_for_is_first_and_no_figures_are_computed_beside_a_refresh(
    instance: DagsterInstance, steps: Steps, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_CLOSING_SESSIONS", "2")
    get_settings.cache_clear()
    assert run(instance, of_refreshes_and_figures)[0]
    assert "most_wait_for" in steps.began[:2]
    assert steps.most == 2
    refreshes, figures = {"a_refresh", "long_refresh", "most_wait_for"}, {"figures", "built_on_it"}
    assert not [together for together in steps.together if together & refreshes and together & figures]


def test_a_step_that_fails_ends_what_is_built_on_it_alone_and_is_repeated_as_it_says(
    instance: DagsterInstance, steps: Steps
) -> None:
    success, told = run(instance, with_a_failure)
    assert not success
    assert sorted(set(steps.began)) == ["beside_it", "failed", "repeated"]
    ends = {line for line in told if line.split()[1] in ("STEP_FAILURE", "STEP_SUCCESS", "STEP_UP_FOR_RETRY")}
    assert ends == {
        "failed STEP_FAILURE",
        "beside_it STEP_SUCCESS",
        "repeated STEP_UP_FOR_RETRY",
        "repeated STEP_SUCCESS",
    }


# As the process does in which Dagster's daemon has a run executed: in the main thread, which a signal interrupts.
WORKER = """
import sys
from dagster import DagsterInstance
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.orchestration.partition_definitions import range_tags
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Granularity, Window
from datetime import UTC, datetime

settings = get_settings()
job = build_definitions(settings).resolve_job_def("hourly_aggregates")
window = Window(datetime(2025, 1, 5, tzinfo=UTC), datetime(2025, 1, 6, tzinfo=UTC))
with DagsterInstance.get() as instance:
    run = instance.create_run_for_job(job, tags=range_tags(window, Granularity.HOUR, settings))
    print(run.run_id, flush=True)
    for event in execute_run_iterator(InMemoryJob(job), run, instance):
        pass
"""


@pytest.mark.faults
@pytest.mark.skipif(SERVER_URL is None, reason="only a server can cancel a statement")
def test_a_run_that_is_interrupted_cancels_the_statements_of_all_its_steps(
    database: Database, instance: DagsterInstance, tmp_path: Path
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00", value="10")
        with locked(connection, EVENTS), subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as worker:
            assert worker.stdout is not None
            run_id = worker.stdout.readline().decode().strip()
            until(lambda: waiting_sessions(connection) == 2, worker)
            run = instance.get_run_by_id(run_id)
            assert run is not None
            instance.report_run_canceling(run)
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=30)
            assert not is_waiting(connection)
        assert fetch_row(connection, "SELECT count(*), count(failure) FROM analytics_partitions") == (48, 0)
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is DagsterRunStatus.CANCELED
    events = {entry.dagster_event_type for entry in instance.all_logs(run_id)}
    assert DagsterEventType.STEP_UP_FOR_RETRY not in events


def until(happened: Callable[[], bool], worker: "subprocess.Popen[bytes]") -> None:
    ends_at = time.monotonic() + 60
    while not happened():
        assert worker.poll() is None, "it has ended"
        assert time.monotonic() < ends_at
        time.sleep(0.05)


def waiting_sessions(connection: Connection) -> int:
    return int(
        fetch_row(
            connection,
            "SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database "
            "WHERE NOT l.granted AND d.datname = current_database()",
        )[0]
    )
