"""Ends the runs of dead processes, which would hold places of the run queue, and what waits for them.

Thirteen killed ``close`` left 12 unfinished runs, and nothing was launched for two hours. A process of this machine
that has ended is known at once, any other by its silence. Nobody marks a run whose process lives: silence is probed
twice, so that an outage of the storage or a suspended machine, which silence everybody, are waited for.
"""

import time
from contextlib import suppress

import psycopg
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.events import JobFailureData, RunFailureReason

from analytics_pipeline.database import connect
from analytics_pipeline.errors import DatabaseUnreachableError
from analytics_pipeline.metrics.partitions import DeadRun, record_deaths
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.orchestration.runs.paged_records import run_records
from analytics_pipeline.orchestration.runs.run_owner import Owner, has_died_in_command
from analytics_pipeline.orchestration.runs.sign_of_life import forget, give_up, read_signs
from analytics_pipeline.settings import Settings

# With the silence before it, and the interval of a sensor's ticks, a minute.
_SECOND_PROBE_SECONDS = 8.0
# Where a process is at work on a run, or was: a queued run has none.
_EXECUTED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def fail_dead_runs(instance: DagsterInstance, settings: Settings) -> list[str]:
    """Mark failed every unfinished run whose process is dead, and return a sentence about each.

    A run whose cancellation was asked for is marked cancelled. Takes 8 seconds when a process is silent: that is when
    it is probed again. Runs of which nobody has said who executes them are left to Dagster's own monitoring.
    """
    owned = {
        run.run_id: (run, owner)
        for record in run_records(instance, RunsFilter(statuses=_EXECUTED))
        for run in [record.dagster_run]
        if (owner := Owner.of(run)) is not None
    }
    if not owned:
        return []
    first = read_signs(instance, owned)
    ended = {run_id for run_id, (_, owner) in owned.items() if owner.has_ended()}
    silent = {run_id for run_id in owned if run_id not in ended and first.is_silent(run_id)}
    if silent:
        time.sleep(_SECOND_PROBE_SECONDS)
        second = read_signs(instance, silent)
        silent = {run_id for run_id in silent if second.values.get(run_id) == first.values.get(run_id)}
    found: list[DeadRun] = []
    for run_id, (_, owner) in owned.items():
        if run_id in ended:
            why = f"{owner}, which executed this run, has ended without finishing it"
        elif run_id in silent:
            why = f"{owner}, which executes this run, gives no sign of life"
        else:
            continue
        if _end_run(instance, run_id, first.values.get(run_id), why):
            ended_run = instance.get_run_by_id(run_id)
            found.append(DeadRun(run_id, why, is_taken_back=ended_run is not None and has_died_in_command(ended_run)))
        if run_id in ended:
            forget(instance, run_id)
    if found:
        _record_deaths(settings, found)
    return [f"{dead.why} ({describe_run(settings, dead.run_id)})" for dead in found]


def _record_deaths(settings: Settings, found: list[DeadRun]) -> None:
    """Note them beside the partitions; a database that can't be used counts each as one attempt."""
    with suppress(DatabaseUnreachableError, psycopg.Error), connect(settings, autocommit=True) as connection:
        record_deaths(connection, found)


def _end_run(instance: DagsterInstance, run_id: str, seen: str | None, why: str) -> bool:
    """End a dead run unless it has ended, or given a sign, since it was probed; return whether it was ended."""
    if not give_up(instance, run_id, seen):
        return False
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        forget(instance, run_id)
        return False
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"{why}.")
    else:
        reason = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
        instance.report_run_failed(run, f"{why}.", reason)
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return True
