"""The hypertable set-up as an asset."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue, asset

from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.metadata import table_schema
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.timescale.aggregates import EVENTS
from analytics_pipeline.timescale.hypertable import EVENT_COLUMNS, hypertable_status
from analytics_pipeline.timescale.migrations import migrate


def build_storage_asset() -> AssetsDefinition:
    """Return the asset ``analytics_events``: materialising it migrates the database."""

    @asset(
        name=EVENTS,
        description=(
            "The hypertable of all business events, its continuous aggregates and its policies. Materialising it "
            "brings the database to the newest schema; it changes neither events nor policies that are there."
        ),
        group_name=names.STORAGE,
        kinds={"timescaledb"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
        pool=names.POOL,
        metadata={"dagster/table_name": EVENTS, "dagster/column_schema": table_schema(EVENT_COLUMNS)},
    )
    def _analytics_events(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        with timescale.session() as connection:
            report = migrate(timescale.settings, on_wait=context.log.warning)
            status = hypertable_status(connection)
        for change in report.policy_changes:
            context.log.info(f"{change.procedure} on {change.relation}: {change.action}")
        for note in report.notes:
            context.log.warning(note)
        return MaterializeResult(
            metadata={
                "dagster/row_count": status.approximate_rows,
                "chunks": status.chunks,
                "compressed chunks": status.compressed_chunks,
                "size (bytes)": status.size_bytes,
                "migrations applied": MetadataValue.json(list(report.applied)),
                "policies changed": len(report.policy_changes),
                "notes on policies": MetadataValue.json(list(report.notes)),
            }
        )

    return _analytics_events
