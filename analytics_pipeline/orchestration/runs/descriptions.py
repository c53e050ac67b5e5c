"""How messages name a run, and why it failed, for command line, checks, sensors and mails."""

import re
from collections.abc import Iterable

from dagster import AssetCheckEvaluation, AssetCheckSeverity, DagsterEvent, DagsterEventType

from analytics_pipeline.settings import Settings
from analytics_pipeline.text import visible_line

# What says why a run failed, among all its events.
EVENTS_OF_FAILURE = {
    DagsterEventType.ASSET_CHECK_EVALUATION,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.RUN_FAILURE,
}

# The name of the metadata that marks a step which was refused before it had begun anything.
REFUSED = "refused"
# Of a configuration that pydantic refuses: the page that explains its kind of error.
_ADDRESS_OF_AN_ERROR = re.compile(r"\s*For further information visit \S+")


def describe_run(settings: Settings, run_id: str) -> str:
    """Return the address of a run in the Dagster UI, or ``run`` and its whole id where ANALYTICS_UI_URL is not set."""
    return f"{settings.ui_url}/runs/{run_id}" if settings.ui_url else f"run {run_id}"


def is_refused(events: Iterable[DagsterEvent]) -> bool:
    """Return whether a run has failed because of refusals alone: whatever was closed before is as it was."""
    failures = [event.step_failure_data for event in events if event.event_type is DagsterEventType.STEP_FAILURE]
    reasons = [failure.user_failure_data for failure in failures]
    return bool(reasons) and all(reason is not None and REFUSED in (reason.metadata or {}) for reason in reasons)


def describe_failure(events: Iterable[DagsterEvent]) -> str | None:
    """Return why the first step failed, else what the run itself says; None if neither says anything.

    A failed blocking check speaks for itself; what a step raised for people (``Failure``) comes without its
    traceback, and an error with the text of its cause, in one line.
    """
    failed_checks: dict[str | None, AssetCheckEvaluation] = {}
    of_run = None
    for event in events:
        match event.event_type:
            case DagsterEventType.ASSET_CHECK_EVALUATION:
                check = event.asset_check_evaluation_data
                if check.blocking and not check.passed and check.severity is AssetCheckSeverity.ERROR:
                    failed_checks.setdefault(event.step_key, check)
            case DagsterEventType.STEP_FAILURE:
                return _describe_step(event, failed_checks.get(event.step_key))
            case DagsterEventType.RUN_FAILURE:
                # A run that monitoring found dead has a message only.
                of_run = event.message
                if event.event_specific_data is not None and event.job_failure_data.error is not None:
                    of_run = event.job_failure_data.error.message.strip()
    return of_run


def _describe_step(event: DagsterEvent, failed_check: AssetCheckEvaluation | None) -> str | None:
    data = event.step_failure_data
    if failed_check is not None:
        return f"{failed_check.check_name} of {failed_check.asset_key.to_user_string()}: {failed_check.description}"
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    if data.error is not None:
        return visible_line(_ADDRESS_OF_AN_ERROR.sub("", (data.error.cause or data.error).message))
    return event.message
