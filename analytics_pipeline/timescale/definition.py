"""Compares the query a continuous aggregate is filled by with the one its declaration asks for.

The declared query becomes a temporary view, and the same server prints both views: its printing is the
normal form, so that spelling, quoting and versions don't matter.
"""

from dataclasses import dataclass

from psycopg import sql

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import COLUMNS, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, fetch_row

_VIEW = sql.Identifier("analytics_declared_definition")


@dataclass(frozen=True, slots=True)
class DefinitionComparison:
    """Both queries as the server prints them."""

    stored: str
    declared: str

    @property
    def agrees(self) -> bool:
        """Whether both are the same query."""
        return self.stored == self.declared


def compare_definition(connection: Connection, aggregate: ContinuousAggregate) -> DefinitionComparison:
    """Print the stored and the declared query of an existing aggregate; changes nothing.

    An aggregate on another one adds up the columns of its source.
    """
    declared = _declared_query(aggregate)
    (stored,) = fetch_row(connection, load_query("aggregate_definition"), {"name": aggregate.name})
    with connection.transaction(force_rollback=True):
        connection.execute(sql.SQL("CREATE TEMPORARY VIEW {} AS {}").format(_VIEW, declared))
        (printed,) = fetch_row(connection, "SELECT pg_get_viewdef('pg_temp.analytics_declared_definition'::regclass)")
    return DefinitionComparison(stored, printed)


def create_statement(aggregate: ContinuousAggregate) -> sql.Composed:
    """Return the statement that creates an aggregate as it is declared, real-time and with nothing stored."""
    return sql.SQL(
        "CREATE MATERIALIZED VIEW {} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS {} "
        "WITH NO DATA"
    ).format(sql.Identifier(aggregate.name), _declared_query(aggregate))


def _declared_query(aggregate: ContinuousAggregate) -> sql.Composed:
    on_events = aggregate.source == EVENTS
    measures = [
        sql.SQL("{} AS {}").format(
            sql.SQL(expression) if on_events else _sum_of(name),
            sql.Identifier(name),
        )
        for name, expression in aggregate.measures.items()
    ]
    filtered = on_events and aggregate.condition != "true"
    return sql.SQL("SELECT time_bucket({}::interval, {}) AS bucket, {} FROM {}{} GROUP BY {}").format(
        sql.Literal(f"1 {aggregate.granularity}"),
        sql.Identifier("timestamp" if on_events else "bucket"),
        sql.SQL(", ").join([*map(sql.Identifier, aggregate.dimensions), *measures]),
        sql.Identifier(aggregate.source),
        sql.SQL(" WHERE ") + sql.SQL(aggregate.condition) if filtered else sql.SQL(""),
        sql.SQL(", ").join(sql.SQL(str(i + 1)) for i in range(1 + len(aggregate.dimensions))),
    )


def _sum_of(column: str) -> sql.Composed:
    # sum(bigint) is numeric; a count stays a bigint at every level.
    cast = sql.SQL("::bigint") if COLUMNS[column].type == "bigint" else sql.SQL("")
    return sql.SQL("sum({})").format(sql.Identifier(column)) + cast
