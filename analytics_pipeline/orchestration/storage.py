"""The set-up of the hypertable: an asset, and the job that materialises it with its checks."""

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Definitions,
    MaterializeResult,
    MetadataValue,
)

from analytics_pipeline.asset_names import EVENTS, INCOMING
from analytics_pipeline.database import migrate
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import STORAGE, pipeline_asset, pipeline_job
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.hypertable import EVENT_COLUMNS, ensure_statistics, hypertable_status

SETUP_JOB = "hypertable_setup"


def defs(settings: Settings) -> Definitions:
    """Return the asset ``analytics_events`` and the job ``hypertable_setup``."""
    job = pipeline_job(
        SETUP_JOB,
        assets_named([EVENTS], settings),
        "Brings schema and policies to this version and checks the server and the hypertable.",
    )
    return Definitions(assets=[_build_asset(settings)], jobs=[job])


def _build_asset(settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        EVENTS,
        "The hypertable of all business events, its continuous aggregates and its policies. Materialising it "
        "brings the database to the newest schema; it changes neither events nor policies that are there.",
        settings,
        group=STORAGE,
        kinds={"timescaledb"},
        deps=[INCOMING],
        table=EVENTS,
        columns=EVENT_COLUMNS,
    )
    def _analytics_events(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        with timescale.session() as connection:
            report = migrate(timescale.settings, on_wait=context.log.warning)
            ensure_statistics(connection)
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
