"""Compares a continuous aggregate in the database with its declaration."""

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES, COLUMNS, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.definition import compare_definition


def rebuild_command(aggregate: ContinuousAggregate) -> str:
    """Return the command that brings an aggregate to its declaration and keeps what it holds."""
    return f"analytics-pipeline db rebuild {aggregate.name}"


def declaration_drift(connection: Connection, aggregate: ContinuousAggregate) -> list[str]:
    """Return what differs from the declaration, a sentence each; empty when nothing does."""
    row = connection.execute(load_query("aggregate_layout"), {"name": aggregate.name}).fetchone()
    if row is None:
        return [f"{aggregate.name} does not exist: run 'analytics-pipeline db migrate'"]
    source, width, materialized_only, columns = row
    remedy = f"run '{rebuild_command(aggregate)}'"
    drift = []
    if source != aggregate.source:
        drift.append(f"it is built on {source}, declared is {aggregate.source}: {remedy}")
    if width != f"1 {aggregate.granularity}":
        drift.append(f"its bucket is {width}, declared is 1 {aggregate.granularity}: {remedy}")
    if materialized_only:
        drift.append(
            f"it is not real-time: ALTER MATERIALIZED VIEW {aggregate.name} SET (timescaledb.materialized_only = false)"
        )
    declared = [[name, COLUMNS[name].type] for name in aggregate.columns]
    if columns != declared:
        drift.append(f"its columns are {_list(columns)}, declared are {_list(declared)}: {remedy}")
    return drift


def is_as_declared(connection: Connection, aggregate: ContinuousAggregate) -> bool:
    """Return whether an aggregate exists as it is declared, to the query it is filled by."""
    return not declaration_drift(connection, aggregate) and compare_definition(connection, aggregate).agrees


def outdated_aggregates(connection: Connection) -> list[ContinuousAggregate]:
    """Return the aggregates that exist and are not as they are declared: those that a rebuild brings there."""
    rows = connection.execute("SELECT view_name::text FROM timescaledb_information.continuous_aggregates")
    existing = {name for (name,) in rows}
    return [a for a in AGGREGATES if a.name in existing and not is_as_declared(connection, a)]


def _list(columns: list[list[str]]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns)
