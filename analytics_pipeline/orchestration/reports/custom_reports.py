"""A report of any company, period, sections and format: an asset whose run configuration says what is wanted.

The sensor starts a run for every report that is asked for by a row of ``analytics_report_requests``. The row says what
is still to be done: it is ``done`` or ``failed`` in the end, whatever dies on the way. A run that ended without either
gives its request back, and another takes it, a few times at most.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

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
from analytics_pipeline.currencies import currencies
from analytics_pipeline.messages.recipients import PDF
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.orchestration.runs.paged_records import run_records
from analytics_pipeline.orchestration.sensors import pipeline_sensor
from analytics_pipeline.orchestration.shared import REPORTS, AssetJob, pipeline_asset, pipeline_job
from analytics_pipeline.reports.catalogue import SECTION_NAMES
from analytics_pipeline.reports.choices import DEFAULT_PAGE_SIZE, Format, PageSize
from analytics_pipeline.reports.order import ReportOrder, accept_order
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock, database_now

if TYPE_CHECKING:
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


# Enumerations, which the launchpad offers and validates while somebody types.
if TYPE_CHECKING:
    ReportSection = str
    ReportCurrency = str
else:
    ReportSection = StrEnum("ReportSection", {name: name for name in SECTION_NAMES})
    ReportCurrency = StrEnum("ReportCurrency", {code: code for code in currencies()})


def _field(name: str, default: Any) -> Any:
    """Return a field of the configuration; what it says is what the order says of it."""
    return Field(default=default, description=ReportOrder.model_fields[name].description)


class CustomReport(Config):
    """What a custom report is to be: a ``ReportOrder`` in the types that a run configuration has; empty is left out.

    What can be listed is an enumeration; a company is looked up before anything else once the run has started. The
    currency is one of ISO 4217: a report in a crypto asset is a matter of the command, or of a row of
    ``analytics_report_requests``.
    """

    company: str = _field("company_id", "")
    start: str = _field("start_date", "")
    end: str = _field("end_date", "")
    sections: list[ReportSection] = _field("sections", [])
    format: Format = _field("format", PDF)
    currency: ReportCurrency | None = _field("currency", None)
    locale: str = _field("locale", "")
    page_size: PageSize = _field("page_size", DEFAULT_PAGE_SIZE)
    request_id: int | None = Field(
        default=None,
        description="The row of analytics_report_requests to be met: what it says counts, and nothing else here.",
    )

    def order(self) -> ReportOrder:
        """Return the order; raises ``AnalyticsError`` naming what can't be made of it."""
        return ReportOrder.of(
            {
                "company_id": self.company or None,
                "start_date": self.start or None,
                "end_date": self.end or None,
                "sections": list(map(str, self.sections)),
                "format": self.format,
                "currency": self.currency and str(self.currency),
                "locale": self.locale or None,
                "page_size": self.page_size,
            }
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
                order = config.order()
                require_known_company(connection, order.company_id)
                accepted = accept_order(connection, settings, order, check_clock(connection))
                published = publish_order(connection, settings, accepted)
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
                    request.accept(connection, timescale.settings, now)
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
