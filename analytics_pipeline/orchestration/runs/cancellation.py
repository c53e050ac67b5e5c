"""A run that is to end: asked to in the Dagster UI, or by a signal to the command that executes it.

It ends as cancelled, which is no failure: nobody is notified, and nothing tries it again.
"""

import contextvars
import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psycopg
from dagster import (
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RetryPolicy,
    RunsFilter,
)
from dagster._core.storage.tags import GRPC_INFO_TAG

from analytics_pipeline import signals
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.partitions import DeadRun, record_deaths
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import cancel_statements

_T = TypeVar("_T")

# Of the steps that a run executes in threads, which no signal reaches: set once the run has been interrupted.
interruption_of_steps: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar(
    "interruption_of_steps", default=None
)

# A statement that a server cancels ends at once; one of the embedded database is left to itself after the first, and
# what has not ended is cancelled again after the second.
GRACE_SECONDS = 4.0
POLL_SECONDS = 0.2
_IN_PROGRESS = (
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
    DagsterRunStatus.SUSPENDED,
)
_NOT_AT_WORK = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)
# Everything has to end soon: so long is waited for a database that is busy.
_LOCK_SECONDS = 1.0


def is_interrupted() -> bool:
    """Return whether a signal ends this process, or the run of the step that this thread executes is interrupted."""
    interruption = interruption_of_steps.get()
    return signals.received() is not None or (interruption is not None and interruption.is_set())


class StepRetry(RetryPolicy):
    """Repeats a step that failed, but never one that was interrupted.

    Dagster takes an interruption for one more reason to repeat a step, and so did the error of the statement that it
    cancels: terminated, a run went on, and closed everything.
    """

    def calculate_delay(self, attempt_num: int) -> float:
        """Return the seconds until the next attempt; Dagster asks while it handles what ended the last one.

        Raises the interruption, if that is what it was.
        """
        reason = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        while reason is not None:
            if isinstance(reason, (KeyboardInterrupt, DagsterExecutionInterruptedError)):
                raise reason
            reason = reason.__cause__ or reason.__context__
        if is_interrupted():
            raise DagsterExecutionInterruptedError
        return float(super().calculate_delay(attempt_num))


def cancel_on_signal(instance: DagsterInstance, settings: Settings, run_id: str, execute: Callable[[], _T]) -> _T:
    """Execute a run in a thread of its own; interrupted meanwhile, mark it as cancelled before raising that.

    ``execute`` creates and executes the run of that id; what it raises is raised. In the main thread Dagster would
    take the signals itself, and call the run failed. A run that is cancelled counts as no attempt at its partitions.
    """
    outcome: Future[_T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(execute))
        except BaseException as error:  # noqa: BLE001  # the waiting thread raises it
            outcome.set_exception(error)

    with signals.describing(
        lambda: f"run {run_id} is cancelled; what was closed before stays closed; the same command closes the rest."
    ):
        threading.Thread(target=work, name=f"run {run_id}", daemon=True).start()
        try:
            wait([outcome])
        except (KeyboardInterrupt, SystemExit):
            _cancel(instance, run_id, outcome)
            number = signals.received()
            if number is not None:
                run = DeadRun(run_id, f"its process was ended by {number.name}", is_taken_back=True)
                # What can't be cancelled may have the only session of the embedded database.
                taking_back = threading.Thread(target=_take_back, args=(settings, run), daemon=True)
                taking_back.start()
                taking_back.join(2 * _LOCK_SECONDS)
            raise
        return outcome.result()


def _cancel(instance: DagsterInstance, run_id: str, outcome: "Future[_T]") -> None:
    """End a run: cancel its statements until it has ended, and mark it as cancelled if that takes too long."""
    ends_at = time.monotonic() + GRACE_SECONDS
    while not outcome.done() and time.monotonic() < ends_at:
        # A storage that does not answer keeps nobody: the run is found dead later.
        with suppress(Exception):
            run = instance.get_run_by_id(run_id)
            if run is not None and not run.is_finished and run.status is not DagsterRunStatus.CANCELING:
                # Before anything of it ends: Dagster calls a run cancelled only if that was asked for.
                instance.report_run_canceling(run, "The command that executes this run was interrupted.")
        cancel_statements()
        wait([outcome], timeout=POLL_SECONDS)
    with suppress(Exception):
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run, "The command that executed this run was interrupted and has ended.")


def _take_back(settings: Settings, *runs: DeadRun) -> None:
    """Let what runs that were ended have begun count as no attempt at its partitions: nothing has failed.

    Where the database can't be reached in time, it does count.
    """
    with (
        suppress(AnalyticsError, psycopg.Error),
        connect(settings, autocommit=True, lock_timeout=_LOCK_SECONDS) as connection,
    ):
        record_deaths(connection, runs)


class ServerRuns:
    """The runs that a code server on a Unix socket executes."""

    def __init__(self, instance: DagsterInstance, settings: Settings, code_socket: Path) -> None:
        """Take the instance, and the socket, which Dagster notes on each run that it launches there."""
        self._instance = instance
        self._settings = settings
        self._code_socket = str(code_socket)
        self._asked: list[DagsterRun] = []

    def ask_to_end(self) -> int:
        """Have them end as cancelled when they are interrupted, and return how many there are."""
        self._asked = self._unfinished()
        for run in self._asked:
            why = "The program that executes this run is being stopped."
            if run.status in _NOT_AT_WORK:
                # Its process would find that it is to end, and end without a word, which Dagster calls a failure.
                self._instance.report_run_canceled(run, why)
            else:
                self._instance.report_run_canceling(run, why)
        return len(self._asked)

    def mark_ended(self) -> None:
        """Mark those that have not said so themselves as cancelled; their processes have ended.

        None of them counts as an attempt at its partitions: nothing has failed.
        """
        for run in self._unfinished():
            self._instance.report_run_canceled(run, "The program that executed this run was stopped.")
        if self._asked:
            why = "the program that executed it was stopped"
            _take_back(self._settings, *(DeadRun(run.run_id, why, is_taken_back=True) for run in self._asked))

    def _unfinished(self) -> list[DagsterRun]:
        runs = self._instance.get_runs(RunsFilter(statuses=_IN_PROGRESS))
        return [run for run in runs if json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket") == self._code_socket]
