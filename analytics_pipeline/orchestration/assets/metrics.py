"""The metric tables as assets: one for the days and one for the months of each."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from analytics_pipeline.health.fx import FX_ASSET
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS_ASSET
from analytics_pipeline.metrics.tables import (
    GRANULARITIES,
    METRIC_TABLES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    USER_METRICS,
    MetricTable,
    close_metric,
)
from analytics_pipeline.metrics.users import USERS
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.attempts import attempt
from analytics_pipeline.orchestration.metadata import table_schema
from analytics_pipeline.orchestration.partitions import backfill_policy_for, partitions_for
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Cadence

# Besides its aggregates.
_SOURCES = {
    REVENUE_METRICS: [USERS, SUBSCRIPTIONS_ASSET, FX_ASSET],
    MRR_MOVEMENTS: [SUBSCRIPTIONS_ASSET, FX_ASSET],
    USER_METRICS: [USERS],
}


def metric_sources(table: MetricTable, cadence: Cadence) -> list[str]:
    """Return the assets that the days, or the months, of a metric are computed from."""
    # Days are not built on months: whole months alone are counted over the monthly user grain.
    aggregates = [a for a in table.aggregates if cadence is Cadence.MONTH or not a.endswith("_monthly")]
    return [*aggregates, *_SOURCES[table]]


def build_metric_assets(settings: Settings) -> list[AssetsDefinition]:
    """Return an asset per metric table and granularity."""
    return [_build_asset(table, cadence, settings) for cadence in GRANULARITIES for table in METRIC_TABLES]


def _build_asset(table: MetricTable, cadence: Cadence, settings: Settings) -> AssetsDefinition:
    sources = metric_sources(table, cadence)
    needs_events = table.needs_raw_events and cadence is Cadence.DAY

    @asset(
        name=table.asset(cadence),
        description=(
            f"{table.description} of each closed {cadence}, per company: rows of {table.table} with granularity "
            f"'{cadence}'. Computed again when late events, rates or subscriptions change what they stand on."
        ),
        deps=sources,
        # A change of the definitions shows in the UI: partitions of the version before are then outdated.
        code_version=str(DEFINITIONS_VERSION),
        partitions_def=partitions_for(cadence, settings),
        backfill_policy=backfill_policy_for(cadence),
        group_name=names.METRICS,
        kinds={"postgres"},
        owners=names.OWNERS,
        retry_policy=names.RETRY,
        pool=names.POOL,
        metadata={"dagster/table_name": table.table, "dagster/column_schema": table_schema(table.columns)},
    )
    def _metric(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        closing = attempt(context, timescale, table.asset(cadence), needs_events=needs_events, proved_by_check=True)
        with closing as (connection, window):
            closed = close_metric(connection, table, cadence, window, timescale.settings.base_currency)
        return MaterializeResult(
            metadata={
                "window": str(window),
                "rows": closed.rows,
                "rows that differ from before": closed.changed,
                "definitions version": DEFINITIONS_VERSION,
                **({"reporting currency": timescale.settings.base_currency} if table.converts else {}),
                "seconds": round(closed.seconds, 3),
            }
        )

    return _metric
