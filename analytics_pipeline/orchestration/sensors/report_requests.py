"""Starts a run for every report that is asked for by a row of ``analytics_report_requests``.

The row says what is still to be done: it is ``done`` or ``failed`` in the end, whatever dies on the way. A run that
ended without either gives its request back, and another takes it, a few times at most.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dagster import (
    DagsterInstance,
    DagsterRun,
    DefaultSensorStatus,
    RunConfig,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from analytics_pipeline.orchestration.assets.custom_report import (
    CUSTOM_REPORT,
    CUSTOM_REPORTS,
    REQUEST_TAG,
    CustomReport,
)
from analytics_pipeline.orchestration.records import run_records
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.run_links import describe_run
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now

if TYPE_CHECKING:
    from analytics_pipeline.reports.requests import ReportRequest

_NAME = "report_requests"
_INTERVAL_SECONDS = 30
# The oldest are looked at, the rest waits until some of them are met: the tick stays short.
_MOST_LOOKED_AT = 50
_MOST_RUNS_PER_TICK = 10
_MOST_RUNS_PER_REQUEST = 3
_NOTHING = "Nobody waits for a report."


def build_report_requests_sensor() -> SensorDefinition:
    """Return the sensor ``report_requests``, switched on."""

    @sensor(
        name=_NAME,
        job_name=CUSTOM_REPORT,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Starts a run for every report asked for in analytics_report_requests, the oldest first. What can't be "
            "made is failed with the reason in its row; a request whose run died is given to another, at most three."
        ),
    )
    def _report_requests(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        # The rooms of reports load reportlab: not while definitions load.
        from analytics_pipeline.reports.requests import fail, open_requests, release

        requested: list[RunRequest] = []
        notes: list[str] = []
        with timescale.session() as connection:
            now = database_now(connection)
            waiting = open_requests(connection, _MOST_LOOKED_AT)
            runs = _runs_of(context.instance, [request.request_id for request in waiting])
            for request in waiting:
                name, earlier = f"request {request.request_id}", runs[request.request_id]
                if any(not run.is_finished for run in earlier):
                    notes.append(f"{name} is queued or being met")
                    continue
                try:
                    request.order(timescale.settings, now)
                # Whatever a row may hold, it keeps none of the others waiting.
                except Exception as error:  # noqa: BLE001
                    fail(connection, request.request_id, str(error), request.run_id)
                    notes.append(f"{name} can't be met: {error}")
                    continue
                if len(earlier) >= _MOST_RUNS_PER_REQUEST:
                    fail(connection, request.request_id, _given_up(timescale.settings, earlier), request.run_id)
                    notes.append(f"{name} was given up")
                elif len(requested) == _MOST_RUNS_PER_TICK:
                    notes.append(f"{name} waits for the next tick")
                elif release(connection, request):
                    requested.append(_run(request, len(earlier) + 1))
        told = "; ".join(notes)
        if told:
            context.log.info(told)
        return SensorResult(
            run_requests=requested,
            skip_reason=None if requested else SkipReason(f"{told[:1].upper()}{told[1:]}." if told else _NOTHING),
        )

    return _report_requests


def _runs_of(instance: DagsterInstance, requests: Iterable[int]) -> Mapping[int, list[DagsterRun]]:
    """Return the runs of each request, the newest first."""
    found: defaultdict[int, list[DagsterRun]] = defaultdict(list)
    tags = [str(request_id) for request_id in requests]
    if tags:
        for record in run_records(instance, RunsFilter(tags={REQUEST_TAG: tags})):
            found[int(record.dagster_run.tags[REQUEST_TAG])].append(record.dagster_run)
    return found


def _run(request: "ReportRequest", attempt: int) -> RunRequest:
    """Return the run for a request; Dagster never launches a run key twice, so it counts the attempts."""
    return RunRequest(
        run_key=f"report request {request.request_id}, attempt {attempt}",
        run_config=RunConfig(ops={CUSTOM_REPORTS: CustomReport(request_id=request.request_id)}),
        tags={
            REQUEST_TAG: str(request.request_id),
            # A crashed run leaves its request to this sensor.
            "dagster/max_retries": "0",
        },
    )


def _given_up(settings: Settings, earlier: Sequence[DagsterRun]) -> str:
    return (
        f"{len(earlier)} runs ended without a report, the last of them {describe_run(settings, earlier[0].run_id)}: "
        "see in the Dagster UI what ended it, fix it, and insert the request again."
    )
