"""A continuous aggregate made anew beside the one that readers see, and filled with all that the old one holds.

Its name doesn't begin with ``analytics_``: it is no aggregate of ours yet, which nothing closes or checks.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import psycopg
from psycopg import sql

from analytics_pipeline.errors import RefusedError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.declaration import is_as_declared
from analytics_pipeline.timescale.definition import create_statement
from analytics_pipeline.timescale.refresh import MaterializedTable, call_refresh
from analytics_pipeline.windows import Window

_PREFIX = "rebuilt_"


@dataclass(frozen=True, slots=True)
class Replacement:
    """An aggregate of the database and the one beside it, ``beside``: declared like it, under another name."""

    aggregate: ContinuousAggregate
    beside: ContinuousAggregate


def replacements(aggregate: ContinuousAggregate) -> list[Replacement]:
    """Return what has to be made anew for an aggregate: itself, then those built on it, from the lowest up."""
    names = {aggregate.name}
    found = []
    for candidate in AGGREGATES:
        is_above = candidate.source in names
        if candidate.name == aggregate.name or is_above:
            names.add(candidate.name)
            source = f"{_PREFIX}{candidate.source}" if is_above else candidate.source
            found.append(Replacement(candidate, replace(candidate, name=f"{_PREFIX}{candidate.name}", source=source)))
    return found


def create_beside(connection: Connection, targets: Sequence[Replacement]) -> None:
    """Create what is missing of the new aggregates, empty, as the old ones are stored; autocommit connection.

    Those that an earlier rebuild has left are kept where they are of today's definitions, else all are made anew.
    """
    found = [target for target in targets if aggregate_exists(connection, target.beside.name)]
    if not all(is_as_declared(connection, target.beside) for target in found):
        for target in reversed(found):
            connection.execute(sql.SQL("DROP MATERIALIZED VIEW {}").format(sql.Identifier(target.beside.name)))
        found = []
    for target in targets:
        if target not in found:
            with connection.transaction():
                _create(connection, target)


def carry_over(connection: Connection, target: Replacement, cut: datetime) -> int:
    """Make the new aggregate hold, before an instant, the rows of the old one; return how many those are.

    The columns that are new are null there, whatever can still be computed: it may be a part. One transaction, or a
    part of one. Raises ``RefusedError`` when the new definition can't hold them.
    """
    existing = _columns_of_old(connection, target)
    columns = target.aggregate.columns
    parts = {
        "old": stored_table(connection, target.aggregate.name).identifier,
        "new": stored_table(connection, target.beside.name).identifier,
        "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
        "carried": sql.SQL(", ").join(sql.Identifier(n) if n in existing else sql.NULL for n in columns),
        "key": sql.SQL(", ").join(map(sql.Identifier, ("bucket", *target.aggregate.dimensions))),
    }
    parameters = {"cut": cut}
    with connection.transaction():
        connection.execute(sql.SQL(load_query("drop_uncarried_buckets")).format(**parts), parameters)
        connection.execute(sql.SQL(load_query("carry_rows")).format(**parts), parameters)
        rows, keys = fetch_row(connection, sql.SQL(load_query("carried_rows")).format(**parts), parameters)
        if rows != keys:
            raise RefusedError(
                f"{target.aggregate.name} can't be rebuilt: {rows:,} of its rows lie behind the retention horizon, and "
                f"by the dimensions of the new definition they are {keys:,} only. Declare the dimensions that it has "
                "now, or give the new one another name."
            )
    return int(rows)


def show_carried_rows(connection: Connection, target: Replacement) -> None:
    """Let readers of the new aggregate see rows that were carried over, though nothing was computed after them.

    Its real-time part begins after the last bucket that there was when a refresh last changed a row: one before all
    others gets a row, which a refresh takes away. Killed between the two, the next ``carry_over`` does. Autocommit.
    """
    table = stored_table(connection, target.beside.name)
    first, last = fetch_row(connection, sql.SQL("SELECT min(bucket), max(bucket) FROM {}").format(table.identifier))
    if last is None or (table.watermark is not None and table.watermark > last):
        return
    granularity = target.aggregate.granularity
    bucket = granularity.floor(first - timedelta(microseconds=1))
    connection.execute(sql.SQL("INSERT INTO {} (bucket) VALUES (%s)").format(table.identifier), [bucket])
    call_refresh(connection, target.beside.name, bucket, first, force=True)


def differing_buckets(connection: Connection, target: Replacement, window: Window) -> list[Window]:
    """Return the buckets of an aligned window in which the old and the new aggregate differ in what both have."""
    existing = _columns_of_old(connection, target)
    query = sql.SQL(load_query("rebuilt_differences")).format(
        old=stored_table(connection, target.aggregate.name).identifier,
        new=stored_table(connection, target.beside.name).identifier,
        columns=sql.SQL(", ").join(sql.Identifier(n) for n in target.aggregate.columns if n in existing),
    )
    next_bucket = target.aggregate.granularity.next
    rows = connection.execute(query, {"start": window.start, "end": window.end})
    return [Window(bucket, next_bucket(bucket)) for (bucket,) in rows]


def stored_span(connection: Connection, aggregate: ContinuousAggregate) -> Window | None:
    """Return from when to when an aggregate has stored rows or closed partitions (None: neither)."""
    table = stored_table(connection, aggregate.name)
    query = sql.SQL(load_query("rebuild_span")).format(stored=table.identifier)
    start, end = fetch_row(connection, query, {"name": aggregate.name, "watermark": table.watermark})
    return None if start is None or end is None else Window(start, end)


def stored_table(connection: Connection, name: str) -> MaterializedTable:
    """Return where a continuous aggregate that exists, of whatever name, stores its rows."""
    return MaterializedTable(*fetch_row(connection, load_query("aggregate_stored"), {"name": name}))


def aggregate_exists(connection: Connection, name: str) -> bool:
    """Return whether there is a continuous aggregate of a name."""
    return connection.execute(load_query("aggregate_stored"), {"name": name}).fetchone() is not None


def _create(connection: Connection, target: Replacement) -> None:
    """Create the new aggregate with the owner, width of chunks, indexes and compression of the old one."""
    old = stored_table(connection, target.aggregate.name).identifier.as_string(connection)
    owner, is_ours, chunks, is_compressed, segments, order = fetch_row(
        connection, load_query("aggregate_storage"), {"name": target.aggregate.name}
    )
    connection.execute(create_statement(target.beside))
    view = sql.Identifier(target.beside.name)
    table = stored_table(connection, target.beside.name).identifier
    new = table.as_string(connection)
    if not is_ours:
        connection.execute(sql.SQL("ALTER MATERIALIZED VIEW {} OWNER TO {}").format(view, sql.Identifier(owner)))
    connection.execute("SELECT set_chunk_time_interval(%s::regclass, %s::interval)", [new, chunks])
    have = set(connection.execute(load_query("aggregate_indexes"), {"table": new}))
    for kind, definition in connection.execute(load_query("aggregate_indexes"), {"table": old}).fetchall():
        if (kind, definition) not in have:
            # One on a column that is gone has nothing to stand on.
            with suppress(psycopg.errors.UndefinedColumn), connection.transaction():
                connection.execute(sql.SQL("CREATE {} ON {}{}").format(sql.SQL(kind), table, sql.SQL(definition)))
    if is_compressed:
        options = {"compress": "true", "compress_segmentby": segments, "compress_orderby": order}
        settings = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier("timescaledb", name), sql.Literal(value))
            for name, value in options.items()
            if value is not None
        )
        connection.execute(sql.SQL("ALTER MATERIALIZED VIEW {} SET ({})").format(view, settings))


def _columns_of_old(connection: Connection, target: Replacement) -> set[str]:
    return {name for (name,) in connection.execute(load_query("aggregate_columns"), {"name": target.aggregate.name})}
