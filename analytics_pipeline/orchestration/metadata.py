"""Turns what the domain returns into Dagster metadata."""

from collections.abc import Iterable, Mapping

from dagster import MetadataValue, TableColumn, TableSchema, TableSchemaMetadataValue

from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.refresh import RefreshResult

_MAX_RANGES = 20

MetadataMap = dict[str, int | float | str | MetadataValue]


def table_schema(columns: Mapping[str, Column]) -> TableSchemaMetadataValue:
    """Return the column schema that the UI shows."""
    return MetadataValue.table_schema(
        TableSchema([TableColumn(name, column.type, column.description) for name, column in columns.items()])
    )


def refresh_metadata(result: RefreshResult) -> MetadataMap:
    """Return what a refresh did to its whole window."""
    return {
        "window": str(result.window),
        "buckets": len(result.buckets),
        "rows": result.rows,
        "events": result.events,
        "seconds": round(result.seconds, 3),
        "already up to date": MetadataValue.bool(result.unchanged),
        "invalidated before": _describe_ranges(
            f"{r.first:%Y-%m-%d %H:%M} to {r.last:%Y-%m-%d %H:%M} UTC" for r in result.invalidated
        ),
    }


def _describe_ranges(ranges: Iterable[str]) -> str:
    listed = list(ranges)
    if not listed:
        return "nothing known"
    rest = len(listed) - _MAX_RANGES
    return "; ".join(listed[:_MAX_RANGES]) + (f"; and {rest} more" if rest > 0 else "")
