"""Turns what the domain returns into Dagster metadata.

The UI plots every number over the partitions. So a partition's numbers are its own, and what is said of the run, the
same beside each of its partitions, is text.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from dagster import AssetExecutionContext, MetadataValue, TableColumn, TableSchema, TableSchemaMetadataValue

from analytics_pipeline.orchestration.dagster_costs import add_partition_metadata
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.refresh import RefreshResult
from analytics_pipeline.windows import Granularity, Window

_MAX_RANGES = 20

MetadataMap = dict[str, int | float | str | MetadataValue]

ROWS = "dagster/partition_row_count"


def table_schema(columns: Mapping[str, Column]) -> TableSchemaMetadataValue:
    """Return the column schema that the UI shows."""
    return MetadataValue.table_schema(
        TableSchema([TableColumn(name, column.type, column.description) for name, column in columns.items()])
    )


def refresh_metadata(result: RefreshResult) -> MetadataMap:
    """Return what a refresh did to its whole window."""
    return {
        "window": str(result.window),
        "run": f"{result.rows:,} rows of {result.events:,} events refreshed in {result.seconds:.3f} s",
        "already up to date": MetadataValue.bool(result.unchanged),
        "invalidated before": _describe_ranges(
            f"{r.first:%Y-%m-%d %H:%M} to {r.last:%Y-%m-%d %H:%M} UTC" for r in result.invalidated
        ),
    }


def describe_partitions(
    context: AssetExecutionContext, granularity: Granularity, window: Window, describe: Callable[[Window], MetadataMap]
) -> None:
    """Give each partition of a run over a window what is said of it; once in a step."""
    windows = window.split(granularity)
    add_partition_metadata(
        context, {key: describe(of_key) for key, of_key in zip(context.partition_keys, windows, strict=True)}
    )


def plotted(figures: Mapping[str, Decimal | int]) -> MetadataMap:
    """Return figures as numbers that the UI plots; an amount without decimals as a whole one."""
    return {name: int(figure) if figure == int(figure) else float(figure) for name, figure in figures.items()}


def _describe_ranges(ranges: Iterable[str]) -> str:
    listed = list(ranges)
    if not listed:
        return "nothing known"
    rest = len(listed) - _MAX_RANGES
    return "; ".join(listed[:_MAX_RANGES]) + (f"; and {rest} more" if rest > 0 else "")
