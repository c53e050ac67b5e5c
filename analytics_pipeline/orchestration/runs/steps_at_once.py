"""The steps of a run that are nothing but statements, several at once: each in a thread, with a session of its own.

Dagster executes the steps of a process one after the other, or each in a process of its own, which takes seconds to
start. A closing run mostly waits for its server, which has other processors to work on a second aggregate.
"""

import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from dagster import DagsterEvent, DagsterExecutionInterruptedError
from dagster._core.events import EngineEventData
from dagster._core.execution.compute_logs import create_compute_log_file_key
from dagster._core.execution.plan.execute_plan import dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor.in_process import inprocess_execution_iterator
from dagster._utils.error import serializable_error_info_from_exc_info
from dagster._utils.interrupts import raise_interrupts_as

from analytics_pipeline.orchestration.runs.cancellation import GRACE_SECONDS, POLL_SECONDS, interruption_of_steps
from analytics_pipeline.orchestration.runs.tags import FIGURES, PRIORITY, REFRESH, STATEMENTS
from analytics_pipeline.timescale.connection import cancel_statements

if TYPE_CHECKING:
    from dagster import StepExecutionContext
    from dagster._core.execution.context.system import PlanExecutionContext
    from dagster._core.execution.plan.active import ActiveExecution
    from dagster._core.execution.plan.plan import ExecutionPlan
    from dagster._core.execution.plan.step import ExecutionStep

    from analytics_pipeline.orchestration.resources import TimescaleResource

# So often somebody looks whether a step may be repeated, or has got its place in a pool.
_LOOK_SECONDS = 0.5


def execute_steps(job_context: "PlanExecutionContext", execution_plan: "ExecutionPlan") -> Iterator[DagsterEvent]:
    """Execute the steps of a run and yield their events: at once where that can be, else as Dagster does."""
    sessions = _sessions(job_context, execution_plan)
    if sessions > 1:
        yield from _execute_at_once(job_context, execution_plan, sessions)
    else:
        yield from inprocess_execution_iterator(job_context, execution_plan)


def _sessions(job_context: "PlanExecutionContext", execution_plan: "ExecutionPlan") -> int:
    """Return in how many sessions the steps of a run may be at work.

    All of them must say that they are nothing but statements of one session. The instance must take events from several
    threads, which one that lives in memory does not; and hooks are left to Dagster.
    """
    steps = execution_plan.get_steps_to_execute_in_topo_order()
    if (
        len(steps) == 1
        or not all(STATEMENTS in step.tags and step.pool is not None for step in steps)
        or not job_context.instance.is_persistent
        or job_context.job_def.hook_defs
    ):
        return 1
    database: TimescaleResource = job_context.for_step(steps[0]).resources.timescale
    return database.sessions_of_run()


def _execute_at_once(
    job_context: "PlanExecutionContext", execution_plan: "ExecutionPlan", sessions: int
) -> Iterator[DagsterEvent]:
    """Execute the steps in so many threads.

    What most others wait for comes first. Interrupted, all running statements are cancelled, and that is raised.
    """
    with (
        _Places(job_context, execution_plan) as places,
        execution_plan.start(
            retry_mode=job_context.retry_mode,
            sort_key_fn=_order(execution_plan),
            max_concurrent=sessions,
            instance_concurrency_context=places,
            step_dependency_config=job_context.step_dependency_config,
        ) as active,
        ExitStack() as captured,
    ):
        yield from _capture_output(job_context, execution_plan, captured)
        steps = _RunningSteps()
        try:
            while not active.is_complete:
                for step in active.get_steps_to_execute():
                    steps.start(job_context.for_step(step, active.get_known_state()))
                yield from active.concurrency_event_iterator(job_context)
                yield from _next_event(job_context, active, steps, places)
        except DagsterExecutionInterruptedError:
            steps.interrupt()
            raise
        finally:
            steps.wait()


def _order(execution_plan: "ExecutionPlan") -> "Callable[[ExecutionStep], float]":
    """Return the key by which steps that could be executed are sorted: by how many others wait for each."""
    waits_for = execution_plan.get_executable_step_deps()
    followers = dict.fromkeys(waits_for, 0)
    for key in waits_for:
        before, looked_at = list(waits_for[key]), set[str]()
        while before:
            if (one := before.pop()) in followers and one not in looked_at:
                looked_at.add(one)
                followers[one] += 1
                before += waits_for[one]

    def sort_key(step: "ExecutionStep") -> float:
        # Figures come last, and what somebody has given a priority before all that.
        first = 2 * int(step.tags.get(PRIORITY, 0)) + (step.tags[STATEMENTS] != FIGURES)
        return -first * (len(followers) + 1) - followers[step.key]

    return sort_key


class _Places(InstanceConcurrencyContext):
    """The places that steps take in Dagster's pools; figures get none while an aggregate is refreshed."""

    def __init__(self, job_context: "PlanExecutionContext", execution_plan: "ExecutionPlan") -> None:
        super().__init__(job_context.instance, job_context.dagster_run)
        self._does = {step.key: step.tags[STATEMENTS] for step in execution_plan.get_steps_to_execute_in_topo_order()}
        self._refreshing: set[str] = set()

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        """Take a step's place in a pool, if there is one; every step that may be at once names a pool."""
        if self._does[step_key] == FIGURES and self._refreshing:
            return False
        is_claimed = super().claim(concurrency_key, step_key, step_priority)
        if is_claimed and self._does[step_key] == REFRESH:
            self._refreshing.add(step_key)
        return is_claimed

    def free_step(self, step_key: str) -> None:
        """Give the place of a step back; harmless when repeated."""
        self._refreshing.discard(step_key)
        super().free_step(step_key)


def _capture_output(
    job_context: "PlanExecutionContext", execution_plan: "ExecutionPlan", captured: ExitStack
) -> Iterator[DagsterEvent]:
    """Let Dagster keep what the process prints, if its instance does, until the stack is left."""
    logs = job_context.instance.compute_log_manager
    key = logs.build_log_key_for_run(
        job_context.run_id,
        create_compute_log_file_key(),  # type: ignore[no-untyped-call]
    )
    steps = [step.key for step in execution_plan.get_steps_to_execute_in_topo_order()]
    try:
        yield DagsterEvent.capture_logs(job_context, steps, key, captured.enter_context(logs.capture_logs(key)))
    except Exception:  # noqa: BLE001  # without that output the run is as good
        yield DagsterEvent.engine_event(
            job_context,
            "What is printed can't be kept.",
            EngineEventData(error=serializable_error_info_from_exc_info(sys.exc_info())),
        )


def _next_event(
    job_context: "PlanExecutionContext", active: "ActiveExecution", steps: "_RunningSteps", places: "_Places"
) -> Iterator[DagsterEvent]:
    """Wait for a running step, or until it is time to look for one that may begin, and yield what has happened."""
    # As an interruption of the run: the handler that Dagster has set notes it, and waits for the step to end.
    with raise_interrupts_as(DagsterExecutionInterruptedError):
        happened = steps.next(within=_LOOK_SECONDS)
    if isinstance(happened, DagsterEvent):
        yield happened
        active.handle_event(happened)
    elif happened is not None:
        places.free_step(happened.step)
        if happened.error is not None:
            raise happened.error
        active.verify_complete(job_context, happened.step)
        yield from active.plan_events_iterator(job_context)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A step has ended; ``error``: not by an event, but by what it raised."""

    step: str
    error: BaseException | None


@dataclass
class _RunningSteps:
    """The steps that are being executed, each in a thread."""

    _keys: set[str] = field(default_factory=set)
    _happened: "SimpleQueue[DagsterEvent | _Ended]" = field(default_factory=SimpleQueue)
    _interruption: threading.Event = field(default_factory=threading.Event)

    def start(self, step_context: "StepExecutionContext") -> None:
        """Begin a step."""
        key = step_context.step.key
        self._keys.add(key)
        context = contextvars.copy_context()
        # A daemon: what can't be cancelled does not keep the process.
        threading.Thread(
            target=context.run, args=(self._execute, step_context), name=f"step {key}", daemon=True
        ).start()

    def next(self, within: float | None) -> DagsterEvent | _Ended | None:
        """Wait for what happens next, and return it: None if that was nothing within so many seconds."""
        try:
            happened = self._happened.get(timeout=within)
        except Empty:
            return None
        if isinstance(happened, _Ended):
            self._keys.remove(happened.step)
        return happened

    def interrupt(self) -> None:
        """Cancel the statements of all until they have ended, or have had time enough."""
        self._interruption.set()
        ends_at = time.monotonic() + GRACE_SECONDS
        while self._keys and time.monotonic() < ends_at:
            cancel_statements()
            self.next(within=POLL_SECONDS)
        self._keys.clear()

    def wait(self) -> None:
        """Wait until all have ended: Dagster must not end a run that is still at work."""
        try:
            with raise_interrupts_as(DagsterExecutionInterruptedError):
                while self._keys:
                    self.next(within=None)
        except DagsterExecutionInterruptedError:
            self.interrupt()
            raise

    def _execute(self, step_context: "StepExecutionContext") -> None:
        interruption_of_steps.set(self._interruption)
        error: BaseException | None = None
        try:
            for event in dagster_event_sequence_for_step(step_context):
                self._happened.put(event)
        except BaseException as raised:  # noqa: BLE001  # raised where the run is executed
            error = raised
        self._happened.put(_Ended(step_context.step.key, error))
