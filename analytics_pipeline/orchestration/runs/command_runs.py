"""Runs that a command executes in its own process: those of ``close`` and ``demo``.

They are runs of the code location like any other, on the page of their job and on the timeline. What interrupts one is
no failure of the range: the range is tried again when Dagster's storage is back, and nobody's retries take it over.
"""

import time
from collections.abc import Mapping
from functools import partial
from uuid import uuid4

from dagster import DagsterInstance, DagsterRunStatus, Definitions, ExecuteInProcessResult, JobDefinition
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import create_execution_plan, execute_run_iterator
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.cancellation import cancel_on_signal
from analytics_pipeline.orchestration.runs.dagster_storage import (
    StorageError,
    is_storage_error,
    is_storage_failure,
    storage_in_use,
)
from analytics_pipeline.orchestration.runs.run_owner import Owner
from analytics_pipeline.orchestration.runs.sign_of_life import sign_of_life
from analytics_pipeline.settings import Settings

# The console log of such a run says what the caller says better; the run's log is in the UI.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_ATTEMPTS = 3
_PAUSE_SECONDS = 5.0


def execute_run(
    definitions: Definitions,
    settings: Settings,
    instance: DagsterInstance,
    job: str,
    reason: str,
    run_tags: Mapping[str, str] | None = None,
) -> ExecuteInProcessResult:
    """Make a run of the job and execute it here; the result says how it went.

    ``reason`` is what the run says it was made for. What Dagster's storage interrupts is repeated twice, then raised
    as ``StorageError``; an interrupt or any other error is raised when the run has been ended.
    """
    job_def = definitions.resolve_job_def(job)
    origin = _origin(definitions, settings, job)
    interrupted: str | None = None
    for left in reversed(range(_ATTEMPTS)):
        run_id = str(uuid4())
        try:
            with storage_in_use(settings, instance):
                if interrupted is not None:
                    _end(instance, interrupted, "Dagster's storage failed while it was executed")
                all_tags = {**(run_tags or {}), tags.REASON: reason}
                execute = partial(_execute, instance, job_def, origin, run_id, all_tags)
                result = cancel_on_signal(instance, settings, run_id, execute)
        except StorageError:
            if not left:
                raise
        else:
            if not left or not is_storage_failure(result.all_events):
                return result
        interrupted = run_id
        time.sleep(_PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


def _execute(
    instance: DagsterInstance,
    job_def: JobDefinition,
    origin: RemoteJobOrigin,
    run_id: str,
    run_tags: Mapping[str, str],
) -> ExecuteInProcessResult:
    job = InMemoryJob(job_def)
    all_tags = {
        **job_def.run_tags,
        **run_tags,
        **Owner.this_process().tags(run_id),
        # Whoever ended the command did not ask for it to go on elsewhere.
        tags.MAX_RETRIES: "0",
    }
    ref = instance.get_ref() if instance.is_persistent else None
    with sign_of_life(instance, run_id) as sign:
        try:
            run = instance.create_run_for_job(
                job_def,
                run_id=run_id,
                run_config=_QUIET,
                tags=all_tags,
                execution_plan=create_execution_plan(job, _QUIET, instance_ref=ref, tags=all_tags),
                remote_job_origin=origin,
            )
            events = list(execute_run_iterator(job, run, instance))
        except BaseException as error:
            _end(instance, run_id, f"{type(error).__name__} ended its execution")
            raise
        sign.require()
    ended = instance.get_run_by_id(run_id) or run
    return ExecuteInProcessResult(event_list=events, dagster_run=ended, output_capture=None, job_def=job_def)


def _end(instance: DagsterInstance, run_id: str, why: str) -> None:
    """Leave no unfinished run: one that never began is deleted, any other failed.

    Where the storage can't be reached, the run's silence will show whoever probes next.
    """
    try:
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return
        if run.status is DagsterRunStatus.NOT_STARTED:
            instance.delete_run(run_id)
        elif run.status is DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, f"{why}.")
        else:
            instance.report_run_failed(run, f"{why}.")
    except Exception as error:
        if not is_storage_error(error):
            raise


def _origin(definitions: Definitions, settings: Settings, job: str) -> RemoteJobOrigin:
    """Return where the UI finds the job: as the run's label it lists the run on the job's page and the timeline."""
    location = RegisteredCodeLocationOrigin(settings.code_location)
    return RemoteRepositoryOrigin(location, definitions.get_repository_def().name).get_job_origin(job)
