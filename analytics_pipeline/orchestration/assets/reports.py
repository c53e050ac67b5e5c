"""Report documents as assets."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from analytics_pipeline.metrics.users import USERS
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.partitions import backfill_policy_for, partitions_for, window_of
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.reports.documents import record_document
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Cadence


def build_report_asset(settings: Settings) -> AssetsDefinition:
    """Return the asset ``monthly_report``, partitioned by month."""

    @asset(
        name="monthly_report",
        description="The PDF report of a month over all companies: revenue, transactions, users, with their trend.",
        deps=["analytics_revenue_monthly", "analytics_user_activity_monthly", USERS],
        partitions_def=partitions_for(Cadence.MONTH, settings),
        backfill_policy=backfill_policy_for(Cadence.MONTH),
        group_name=names.REPORTS,
        kinds={"pdf", "reportlab"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
    )
    def _monthly_report(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        # Rendering takes a second to import: only a process that renders pays for it.
        from analytics_pipeline.reports.headlines import monthly_document
        from analytics_pipeline.reports.publish import load_monthly_report, store_monthly_report

        months = list(window_of(context).split(Cadence.MONTH))
        with timescale.session() as connection:
            for key, month in zip(context.partition_keys, months, strict=True):
                report = load_monthly_report(connection, None, month.start.date())
                document = store_monthly_report(timescale.settings, report)
                record_document(connection, monthly_document(report, document), run_id=context.run.run_id)
                context.add_asset_metadata(
                    {
                        "dagster/uri": document.uri,
                        "path": MetadataValue.path(document.path),
                        "pages": document.pages,
                        "size (bytes)": document.size,
                        "sha256": document.sha256,
                        "characters the font lacks": ", ".join(document.altered_characters) or "none",
                    },
                    partition_key=key,
                )
        return MaterializeResult(metadata={"reports": len(months)})

    return _monthly_report
