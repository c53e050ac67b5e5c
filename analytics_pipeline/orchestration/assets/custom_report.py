"""A report of any company, period, sections and format: an asset whose run configuration says what is wanted."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    Config,
    MaterializeResult,
    asset,
    define_asset_job,
)
from pydantic import Field

from analytics_pipeline.companies.known import require_known_company
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.show import require_known_currency
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

    from analytics_pipeline.reports.order import ReportOrder

# Dagster wants the names of jobs and assets to differ.
CUSTOM_REPORT = "custom_report"
CUSTOM_REPORTS = "custom_reports"
# Tag of its runs: the request they are to meet.
REQUEST_TAG = "analytics/report_request"


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


def build_custom_report_asset() -> AssetsDefinition:
    """Return the asset ``custom_reports``: each materialisation is a report."""

    @asset(
        name=CUSTOM_REPORTS,
        description=(
            "A report as its run configuration asks for it: company, period, sections, format. Use the launchpad, "
            "insert a row into analytics_report_requests, or use 'analytics-pipeline report'."
        ),
        group_name=names.REPORTS,
        kinds={"pdf", "reportlab"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
    )
    def _custom_report(context: AssetExecutionContext, config: CustomReport, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        from analytics_pipeline.orchestration.report_metadata import document_metadata
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
            return MaterializeResult(metadata=document_metadata(published, settings))

    return _custom_report


def build_custom_report_job() -> "UnresolvedAssetJobDefinition":
    """Return the job ``custom_report``."""
    return define_asset_job(
        CUSTOM_REPORT,
        selection=AssetSelection.assets(CUSTOM_REPORTS),
        description="Makes one report as its run configuration asks for it; the sensor report_requests starts it.",
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
