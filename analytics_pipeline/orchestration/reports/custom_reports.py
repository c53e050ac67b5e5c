"""A report of any company, period, sections and format: an asset whose run configuration says what is wanted.

The sensor starts a run for every report that is asked for by a row of ``analytics_report_requests``. The row says what
is still to be done: it is ``done`` or ``failed`` in the end, whatever dies on the way. A run that ended without either
gives its request back, and another takes it, a few times at most.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Config,
    DagsterInstance,
    DagsterRun,
    MaterializeResult,
    RunConfig,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from pydantic import Field

from analytics_pipeline.asset_names import CUSTOM_REPORTS
from analytics_pipeline.companies.known import require_known_company
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.show import require_known_currency
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.orchestration.runs.paged_records import run_records
from analytics_pipeline.orchestration.sensors import pipeline_sensor
from analytics_pipeline.orchestration.shared import REPORTS, AssetJob, pipeline_asset, pipeline_job
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock, database_now

if TYPE_CHECKING:
    from analytics_pipeline.reports.order import ReportOrder
    from analytics_pipeline.reports.requests import ReportRequest

# Dagster wants the names of jobs and assets to differ.
CUSTOM_REPORT = "custom_report"
# Tag of its runs: the request they are to meet.
REQUEST_TAG = "analytics/report_request"

_NAME = "report_requests"
_INTERVAL_SECONDS = 30
# The oldest are examined, the rest waits until some of them are met: the tick stays short.
_MAX_EXAMINED = 50
_MAX_RUNS_PER_TICK = 10
_MAX_RUNS_PER_REQUEST = 3
_NOTHING = "Nobody waits for a report."


class CustomReport(Config):
    """What a custom report is to be."""

    company: str = Field(default="", description="A company's id; empty: all companies together.")
    start: str = Field(default="", description="First day, UTC: 2025-01-01. Without days the last finished month.")
    end: str = Field(default="", description="Last day, UTC, inclusive: 2025-01-31.")
    sections: list[str] = Field(
        default=[],
        description=(
            "Names of sections, none: all of them. headline, summary, companies, revenue, mrr, users, currencies, "
            "refunds, crypto, top-events, alerts, data-quality, reconciliation, definitions."
        ),
    )
    format: str = Field(default="pdf", description="pdf, xlsx, csv (several sections: a zip of them) or json.")
    currency: str = Field(default="", description="Reporting currency, empty: ANALYTICS_BASE_CURRENCY.")
    locale: str = Field(default="en_GB", description="Notation of figures and dates in a PDF, such as de_CH.")
    page_size: str = Field(default="A4", description="A4 or letter.")
    request_id: int | None = Field(
        default=None,
        description="The row of analytics_report_requests to be met: what it says counts, and nothing else here.",
    )


def build_custom_asset(settings: Settings) -> AssetsDefinition:
    """Return the asset ``custom_reports``: each materialisation is a report."""

    @pipeline_asset(
        CUSTOM_REPORTS,
        "A report as its run configuration asks for it: company, period, sections, format. Use the launchpad, "
        "insert a row into analytics_report_requests, or use 'analytics-pipeline report'. It shows the figures as they "
        "are when it is made, closed or not, so nothing stands above it.",
        settings,
        group=REPORTS,
        kinds={"pdf", "reportlab"},
        pool=None,
    )
    def _custom_report(context: AssetExecutionContext, config: CustomReport, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        from analytics_pipeline.orchestration.reports.report_metadata import document_metadata
        from analytics_pipeline.reports.publish import publish_order
        from analytics_pipeline.reports.requests import meet

        settings, request = timescale.settings, config.request_id
        with timescale.session() as connection:
            if request is None:
                require_known_company(connection, config.company or None)
                require_known_currency(connection, config.currency or settings.base_currency)
                published = publish_order(connection, settings, _order(config, settings, check_clock(connection)))
            else:
                published = meet(connection, settings, request, context.run.run_id)
            return MaterializeResult(metadata=document_metadata(connection, published, settings))

    return _custom_report


def build_custom_job(settings: Settings) -> AssetJob:
    """Return the job ``custom_report``."""
    return pipeline_job(
        CUSTOM_REPORT,
        assets_named([CUSTOM_REPORTS], settings),
        "Makes one report as its run configuration asks for it; the sensor report_requests starts it.",
    )


def _order(config: CustomReport, settings: Settings, now: datetime) -> "ReportOrder":
    from analytics_pipeline.reports.order import order_report

    start, end = _days(config, now.date())
    return order_report(
        config.company or None,
        start,
        end,
        currency=config.currency or settings.base_currency,
        sections=config.sections,
        format=config.format,
        locale=config.locale,
        page_size=config.page_size,
        now=now,
    )


def _days(config: CustomReport, today: date) -> tuple[date, date]:
    """Return the first and the last day, without either those of the last finished month."""
    if not config.start and not config.end:
        last = today.replace(day=1) - timedelta(days=1)
        return last.replace(day=1), last
    try:
        return date.fromisoformat(config.start), date.fromisoformat(config.end)
    except ValueError as error:
        raise AnalyticsError(
            f"start and end are days such as 2025-01-31, both or neither, not {config.start!r} and {config.end!r}."
        ) from error


def build_requests_sensor() -> SensorDefinition:
    """Return the sensor ``report_requests``, switched on."""

    @pipeline_sensor(
        _NAME,
        _INTERVAL_SECONDS,
        "Starts a run for every report asked for in analytics_report_requests, the oldest first. What can't be "
        "made is failed with the reason in its row; a request whose run died is given to another, at most three.",
        job=CUSTOM_REPORT,
    )
    def _report_requests(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        # The packages of reports load reportlab: not while definitions load.
        from analytics_pipeline.reports.requests import fail, open_requests, release

        requested: list[RunRequest] = []
        notes: list[str] = []
        with timescale.session() as connection:
            now = database_now(connection)
            waiting = open_requests(connection, _MAX_EXAMINED)
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
                if len(earlier) >= _MAX_RUNS_PER_REQUEST:
                    fail(connection, request.request_id, _exhausted(timescale.settings, earlier), request.run_id)
                    notes.append(f"{name} has exhausted its attempts")
                elif len(requested) == _MAX_RUNS_PER_TICK:
                    notes.append(f"{name} waits for the next tick")
                elif release(connection, request):
                    requested.append(_run(request, len(earlier) + 1))
        summary = "; ".join(notes)
        if summary:
            context.log.info(summary)
        return SensorResult(
            run_requests=requested,
            skip_reason=None
            if requested
            else SkipReason(f"{summary[:1].upper()}{summary[1:]}." if summary else _NOTHING),
        )

    return _report_requests


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _runs_of(instance: DagsterInstance, requests: Iterable[int]) -> Mapping[int, list[DagsterRun]]:
    """Return the runs of each request, the newest first."""
    found: defaultdict[int, list[DagsterRun]] = defaultdict(list)
    ids = [str(request_id) for request_id in requests]
    if ids:
        for record in run_records(instance, RunsFilter(tags={REQUEST_TAG: ids})):
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
            tags.MAX_RETRIES: "0",
        },
    )


def _exhausted(settings: Settings, earlier: Sequence[DagsterRun]) -> str:
    return (
        f"{len(earlier)} runs ended without a report, the last of them {describe_run(settings, earlier[0].run_id)}: "
        "see in the Dagster UI what ended it, fix it, and insert the request again."
    )
