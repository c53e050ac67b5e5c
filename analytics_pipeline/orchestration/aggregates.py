"""One partitioned asset per continuous aggregate, generated from the declaration."""

from dagster import AssetExecutionContext, AssetsDefinition, Definitions, MaterializeResult

from analytics_pipeline.orchestration.closing.attempts import attempt
from analytics_pipeline.orchestration.metadata import ROWS, MetadataMap, describe_partitions, refresh_metadata
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.tags import REFRESH
from analytics_pipeline.orchestration.shared import AGGREGATES as GROUP
from analytics_pipeline.orchestration.shared import pipeline_asset
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES, COLUMNS, ContinuousAggregate
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Window


def defs(settings: Settings) -> Definitions:
    """Return one asset per declared aggregate, under its relation's name."""
    return Definitions(assets=[_build_asset(aggregate, settings) for aggregate in AGGREGATES])


def _build_asset(aggregate: ContinuousAggregate, settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        aggregate.name,
        f"{aggregate.description} Materialising a partition closes it: exactly its window is refreshed.",
        settings,
        group=GROUP,
        kinds={"timescaledb"},
        deps=[aggregate.source],
        granularity=aggregate.granularity,
        table=aggregate.name,
        columns={name: COLUMNS[name] for name in aggregate.columns},
        statements=REFRESH,
    )
    def _aggregate(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        closing = attempt(context, timescale, aggregate.name, needs_events=True, proved_by_check=True)
        with closing as (connection, window):
            result = refresh(connection, aggregate, window)
        counts = {bucket.start: bucket for bucket in result.buckets}

        def describe(partition: Window) -> MetadataMap:
            bucket = counts.get(partition.start)
            return {ROWS: bucket.rows if bucket else 0, "partition events": bucket.events if bucket else 0}

        describe_partitions(context, aggregate.granularity, window, describe)
        return MaterializeResult(metadata=refresh_metadata(result))

    return _aggregate
