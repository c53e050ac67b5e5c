"""Events between the database and Arrow: every column there is, as texts, so that each comes back as it was."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql

from analytics_pipeline.archive.delta_table import INSTANTS, TIMESTAMP, arrow_type
from analytics_pipeline.archive.fingerprints import as_text
from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

# Days of more events are read an hour at a time: what is read at once is held in memory.
_EVENTS_A_DAY = 100_000
# Rows of one statement: the embedded server holds its parameters several times over.
_INSERTED_AT_ONCE = 5_000


def event_columns(connection: Connection) -> dict[str, str]:
    """Return the columns of ``analytics_events`` in order, each with the database's name of its type."""
    return dict(connection.execute(load_query("archive_event_columns")).fetchall())


def read_events(
    connection: Connection, window: Window, columns: Sequence[str], expected: int
) -> "Iterator[pa.RecordBatch]":
    """Yield the events of a half-open window, about ``expected`` of them, in the order of their time."""
    import pyarrow as pa

    schema = pa.schema([pa.field(name, arrow_type(name)) for name in columns])
    query = sql.SQL("SELECT {} FROM {} WHERE {time} >= %s AND {time} < %s ORDER BY {time}, event_id").format(
        sql.SQL(", ").join(map(as_text, columns)), sql.Identifier(EVENTS), time=sql.Identifier(TIMESTAMP)
    )
    days = window.widen(Granularity.DAY).count(Granularity.DAY)
    step = Granularity.DAY if expected <= days * _EVENTS_A_DAY else Granularity.HOUR
    for part in window.split(step):
        rows = connection.execute(query, [part.start, part.end]).fetchall()
        if rows:
            arrays = [_array(name, values) for name, values in zip(columns, zip(*rows, strict=True), strict=True)]
            yield pa.record_batch(arrays, schema=schema)


def insert_events(connection: Connection, batch: "pa.RecordBatch", types: dict[str, str]) -> None:
    """Insert the events of a batch, whose columns are of these types in the database."""
    columns = batch.schema.names
    query = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS e ({})").format(
        sql.Identifier(EVENTS),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.SQL("e.{}::{}").format(sql.Identifier(name), sql.SQL(types[name])) for name in columns),
        sql.SQL(", ").join(
            sql.SQL("%s::timestamptz[]") if name in INSTANTS else sql.SQL("%s::text[]") for name in columns
        ),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
    )
    for start in range(0, batch.num_rows, _INSERTED_AT_ONCE):
        part = batch.slice(start, _INSERTED_AT_ONCE)
        connection.execute(query, [column.to_pylist() for column in part.columns])


def _array(name: str, values: Sequence[Any]) -> "pa.Array":
    import pyarrow as pa

    if name in INSTANTS:
        return pa.array(map(int, values), pa.int64()).cast(arrow_type(name))
    return pa.array(values, arrow_type(name))
