"""Proves a closed window: the stored rows of an aggregate against its declaration over the raw events."""

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from psycopg import sql

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import EVENTS, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Window

_MOST_DIFFERENCES = 100


@dataclass(frozen=True, slots=True)
class Difference:
    """One row on one side only: ``side`` is ``stored`` or ``expected``, ``row`` the row by column."""

    side: str
    row: dict[str, Any]

    def __str__(self) -> str:
        """Show the row as a sentence for people."""
        values = ", ".join(f"{name} {value}" for name, value in self.row.items() if value is not None)
        return f"only {self.side}: {values}"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The result for one aggregate and window; ``differences`` holds the first hundred of ``difference_count``."""

    aggregate: str
    window: Window
    expected_rows: int
    stored_rows: int
    difference_count: int
    differences: tuple[Difference, ...]

    @property
    def agrees(self) -> bool:
        """Whether the stored rows are exactly those the raw events give."""
        return self.difference_count == 0


def reconcile(connection: Connection, aggregate: ContinuousAggregate, window: Window) -> Reconciliation:
    """Compare the stored rows of a window, without the real-time part, with the raw events.

    Every dimension and every measure counts, at full precision. Raises ``AnalyticsError`` when the
    aggregate does not exist.
    """
    table = materialized_tables(connection).get(aggregate.name)
    if table is None:
        raise AnalyticsError(
            f"The continuous aggregate {aggregate.name} does not exist: run 'analytics-pipeline db migrate'."
        )
    query = sql.SQL(load_sql("queries/reconcile.sql")).format(
        width=sql.Literal(f"1 {aggregate.cadence}"),
        dimensions=sql.SQL(", ").join(map(sql.Identifier, aggregate.dimensions)),
        measures=sql.SQL(", ").join(map(sql.Identifier, aggregate.measures)),
        expressions=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.SQL(expression), sql.Identifier(name))
            for name, expression in aggregate.measures.items()
        ),
        events=sql.Identifier(EVENTS),
        condition=sql.SQL(aggregate.condition),
        stored=table.identifier,
    )
    row = fetch_row(connection, query, {"start": window.start, "end": window.end, "most": _MOST_DIFFERENCES})
    expected_rows, stored_rows, difference_count, listed = row
    differences = tuple(
        Difference(side=entry.pop("side"), row=entry) for entry in json.loads(listed, parse_float=Decimal)
    )
    return Reconciliation(aggregate.name, window, expected_rows, stored_rows, difference_count, differences)
