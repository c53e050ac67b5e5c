"""Proves a closed window: the stored rows of an aggregate against its declaration over the raw events.

Events may change at any time. Writers leave word of it in TimescaleDB's invalidation log, in their own transaction: who
reads stored rows, events and log at one state of the database knows which differences are such changes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from psycopg import sql

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.invalidation import StaleRange, stale_ranges
from analytics_pipeline.timescale.refresh import materialized_table, refresh
from analytics_pipeline.windows import Granularity, Window, join_windows

_MAX_DIFFERENCES = 100
# How often what changes during the proof is closed again: beside a writer that never pauses it would never end.
_MAX_ROUNDS = 3


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
    """The result for one aggregate and window; ``differences`` holds the first hundred of ``difference_count``.

    ``changed`` are the starts of buckets that differ too, as the invalidation log says they do: their events have
    changed since they were stored, and they are closed again. They are in no other count of differences.
    """

    aggregate: str
    window: Window
    expected_rows: int
    stored_rows: int
    difference_count: int
    differences: tuple[Difference, ...]
    changed: tuple[datetime, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether the stored rows are those the raw events give, but for what is known to have changed since."""
        return self.difference_count == 0


def prove(connection: Connection, aggregate: ContinuousAggregate, window: Window) -> Reconciliation:
    """Compare the stored rows of a window that was refreshed with the raw events; autocommit connection.

    Buckets whose events have changed meanwhile are refreshed and compared again, three times at most; those that then
    have changed once more, or stand on an aggregate that is stale itself, are left in ``changed``. The rows counted are
    those of the first comparison. Raises what ``refresh`` raises.
    """
    proof, ready = _compare(connection, aggregate, window)
    for _ in range(_MAX_ROUNDS):
        if not ready:
            break
        again = join_windows(Window(bucket, aggregate.granularity.next(bucket)) for bucket in ready)
        waiting = set(proof.changed) - set(ready)
        ready = []
        for part in again:
            refresh(connection, aggregate, part)
            found, more = _compare(connection, aggregate, part)
            waiting |= set(found.changed)
            ready += more
            proof = replace(
                proof,
                difference_count=proof.difference_count + found.difference_count,
                differences=(*proof.differences, *found.differences)[:_MAX_DIFFERENCES],
            )
        proof = replace(proof, changed=tuple(sorted(waiting)))
    return proof


def _compare(
    connection: Connection, aggregate: ContinuousAggregate, window: Window
) -> tuple[Reconciliation, list[datetime]]:
    """Compare a window at one state and return, too, which of the changed buckets a refresh would bring up to date."""
    with one_state(connection):
        found = reconcile(connection, aggregate, window, stale_ranges(connection, window, aggregate.name))
        # Where it is built on the events themselves, nothing below can be stale.
        below = stale_ranges(connection, window, aggregate.source) if found.changed else []
    return found, [bucket for bucket in found.changed if not _is_stale(bucket, aggregate, below)]


def reconcile(
    connection: Connection, aggregate: ContinuousAggregate, window: Window, stale: Sequence[StaleRange] = ()
) -> Reconciliation:
    """Compare the stored rows of a window, without the real-time part, with the raw events.

    Every dimension and every measure counts, at full precision, but measures that the aggregate lacks until it is
    rebuilt. Buckets within the stale ranges may differ. Where a writer may be at work, it is called within the
    ``one_state`` in which the ranges were read. Raises ``AnalyticsError`` when the aggregate does not exist.
    """
    table = materialized_table(connection, aggregate)
    stored = {column for (column,) in connection.execute(load_query("aggregate_columns"), {"name": aggregate.name})}
    measures = {name: expression for name, expression in aggregate.measures.items() if name in stored}
    query = sql.SQL(load_query("reconcile")).format(
        width=sql.Literal(f"1 {aggregate.granularity}"),
        dimensions=sql.SQL(", ").join(map(sql.Identifier, aggregate.dimensions)),
        measures=sql.SQL(", ").join(map(sql.Identifier, measures)),
        expressions=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.SQL(expression), sql.Identifier(name))
            for name, expression in measures.items()
        ),
        events=sql.Identifier(EVENTS),
        condition=sql.SQL(aggregate.condition),
        stored=table.identifier,
    )
    ranges = {"stale_first": [each.first for each in stale], "stale_last": [each.last for each in stale]}
    found = Reconciliation(aggregate.name, window, 0, 0, 0, ())
    with connection.transaction():
        connection.execute(load_query("aggregate_at_once"), {"is_local": True})
        # The rows of a month fit into memory, those of a year don't: that took twice as long.
        for part in window.split(Granularity.MONTH):
            most = _MAX_DIFFERENCES - len(found.differences)
            parameters = {**ranges, "start": part.start, "end": part.end, "most": most}
            expected_rows, stored_rows, difference_count, listed, changed = fetch_row(connection, query, parameters)
            differences = (
                Difference(side=entry.pop("side"), row=entry) for entry in json.loads(listed, parse_float=Decimal)
            )
            found = replace(
                found,
                expected_rows=found.expected_rows + expected_rows,
                stored_rows=found.stored_rows + stored_rows,
                difference_count=found.difference_count + difference_count,
                differences=(*found.differences, *differences),
                changed=(*found.changed, *changed),
            )
    return found


def _is_stale(bucket: datetime, aggregate: ContinuousAggregate, stale: Sequence[StaleRange]) -> bool:
    return any(each.first < aggregate.granularity.next(bucket) and bucket <= each.last for each in stale)
