"""Compares a continuous aggregate in the database with its declaration."""

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import COLUMNS, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection


def declaration_drift(connection: Connection, aggregate: ContinuousAggregate) -> list[str]:
    """Return what differs from the declaration, a sentence each; empty when nothing does."""
    row = connection.execute(load_query("aggregate_layout"), {"name": aggregate.name}).fetchone()
    if row is None:
        return [f"{aggregate.name} does not exist: run 'analytics-pipeline db migrate'"]
    source, width, materialized_only, columns = row
    drift = []
    if source != aggregate.source:
        drift.append(f"it is built on {source}, declared is {aggregate.source}")
    if width != f"1 {aggregate.granularity}":
        drift.append(f"its bucket is {width}, declared is 1 {aggregate.granularity}")
    if materialized_only:
        drift.append(
            f"it is not real-time: ALTER MATERIALIZED VIEW {aggregate.name} SET (timescaledb.materialized_only = false)"
        )
    declared = [[name, COLUMNS[name].type] for name in aggregate.columns]
    if columns != declared:
        drift.append(f"its columns are {_list(columns)}, declared are {_list(declared)}")
    return drift


def _list(columns: list[list[str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns)
