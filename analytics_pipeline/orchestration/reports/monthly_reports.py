"""The monthly report documents as assets: one over all companies, and one of each."""

from collections.abc import Callable

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from analytics_pipeline.asset_names import COMPANY_REPORTS, MONTHLY_REPORT
from analytics_pipeline.messages.mailed import outdated_mails
from analytics_pipeline.metrics.closed_periods import closed_periods
from analytics_pipeline.metrics.tables import METRIC_TABLES, REVENUE_METRICS
from analytics_pipeline.orchestration.closing.attempts import attempt
from analytics_pipeline.orchestration.metadata import MetadataMap, describe_partitions, plotted
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import REPORTS, pipeline_asset
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Granularity, Window

_DEPS = [
    *(table.asset(Granularity.MONTH) for table in METRIC_TABLES),
    "analytics_revenue_monthly",
    "analytics_crypto_monthly",
]


def build_monthly_assets(settings: Settings) -> list[AssetsDefinition]:
    """Return the assets ``monthly_report`` and ``company_reports``, partitioned by month."""

    def report_asset(name: str, description: str) -> Callable[[Callable[..., MaterializeResult]], AssetsDefinition]:  # type: ignore[type-arg]
        return pipeline_asset(
            name,
            description,
            settings,
            group=REPORTS,
            kinds={"pdf", "reportlab"},
            deps=_DEPS,
            granularity=Granularity.MONTH,
            pool=None,
        )

    @report_asset(
        MONTHLY_REPORT,
        "The PDF report of a month over all companies: headline figures, each company, revenue, MRR, users, "
        "currencies, crypto, events, alerts, quality of the data, and the proof that the figures reconcile.",
    )
    def _monthly_report(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        # Rendering takes a second to import: only a process that renders pays for it.
        from analytics_pipeline.orchestration.reports.report_metadata import monthly_document_metadata
        from analytics_pipeline.reports.monthly import publish_platform_month

        closing = attempt(context, timescale, MONTHLY_REPORT, needs_events=False, proved_by_check=False)
        with closing as (connection, window):

            def publish(month: Window) -> MetadataMap:
                made = publish_platform_month(
                    connection, timescale.settings, month.start.date(), run_id=context.run.run_id
                )
                outdated = outdated_mails(connection, period=made.document.period, of_one=True)
                return monthly_document_metadata(connection, made, outdated, timescale.settings)

            describe_partitions(context, Granularity.MONTH, window, publish)
        return MaterializeResult()

    @report_asset(
        COMPANY_REPORTS,
        "The PDF report of a month for each company that has figures: what monthly_report shows, of it alone.",
    )
    def _company_reports(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        from analytics_pipeline.orchestration.reports.report_metadata import documents_metadata
        from analytics_pipeline.reports.monthly import publish_company_months

        closing = attempt(context, timescale, COMPANY_REPORTS, needs_events=False, proved_by_check=False)
        with closing as (connection, window):
            periods = closed_periods(connection, REVENUE_METRICS, Granularity.MONTH, window)

            def publish(month: Window) -> MetadataMap:
                # Over all companies: what the documents of the month come to together.
                period = periods.get(month.start)
                together = {} if period is None else plotted(period.figures)
                made = list(
                    publish_company_months(
                        connection, timescale.settings, month.start.date(), run_id=context.run.run_id
                    )
                )
                mailed = outdated_mails(connection, period=f"{month.start:%Y-%m}")
                outdated = [one for one in mailed if one.company_id is not None]
                metadata = documents_metadata(connection, made, outdated, timescale.settings)
                # The links first, as the UI keeps the order.
                return {"open": metadata["open"], **together, **metadata}

            describe_partitions(context, Granularity.MONTH, window, publish)
        return MaterializeResult()

    return [_monthly_report, _company_reports]
