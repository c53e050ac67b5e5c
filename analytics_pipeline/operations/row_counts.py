"""What a database holds, counted: so that whoever restores it can prove that it is all there.

A row counts by a hash of its text, in UTC; the sum of those doesn't depend on the order of rows.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.metrics.revenue import period_figures
from analytics_pipeline.operations.manifest import ChunkCount, Content, MonthFigures, PolicyState, TableCount
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.windows import Granularity, Window

# How many of the newest whole months have their figures compared.
_MONTHS = 3
# 60 bits of each row's hash, as a number whose sum is exact.
_CHECKSUM = sql.SQL("coalesce(sum(('x' || substr(md5(t::text), 1, 15))::bit(60)::bigint), 0)::text")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Hypertable:
    """A hypertable under the name a user knows, and where it really is."""

    name: str
    schema: str
    table: str
    time: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.table)


def settle_session(connection: Connection) -> None:
    """Have values look the same whatever a server or role has set, and nothing be hidden or ended; autocommit."""
    row_security = "on" if needs_row_security(connection) else "off"
    connection.execute(load_query("backup_session"), {"row_security": row_security})


def needs_row_security(connection: Connection) -> bool:
    """Return whether this role reads our tables by their owner's policy, since row-level security binds it."""
    is_bound, is_owner = fetch_row(connection, load_query("backup_reader"))
    return bool(is_bound and is_owner)


def read_content(connection: Connection, currency: str, months: Sequence[Window], say: Say) -> Content:
    """Return what a database of ours holds, with the figures, in a currency, of months beside each other.

    Within a transaction that sees one state, in a session whose time zone is UTC. ``say`` is given what is counted.
    """
    hypertables = _hypertables(connection)
    roots = {(table.schema, table.table) for table in hypertables}
    tables = [
        _count_table(connection, schema, table)
        for schema, table in user_tables(connection)
        if (schema, table) not in roots
    ]
    chunks: list[ChunkCount] = []
    for table in hypertables:
        say(f"counting {table.name}")
        found = [_count_chunk(connection, table, chunk) for chunk in _chunks(connection, table)]
        chunks += found
        tables.append(_total(connection, table, found))
    if months:
        say(f"computing the figures of {months[0].start:%Y-%m} to {months[-1].start:%Y-%m}")
    return Content(
        tables=tuple(sorted(tables, key=lambda table: table.name)),
        chunks=tuple(chunks),
        policies=tuple(read_jobs(connection)),
        figures=tuple(_figures(connection, currency, months)),
    )


def read_tables(connection: Connection) -> Content:
    """Return what the tables of any other database hold."""
    return Content(tuple(_count_table(connection, schema, table) for schema, table in user_tables(connection)))


def newest_months(connection: Connection) -> list[Window]:
    """Return the newest whole months whose events are all there, a few of them; autocommit connection."""
    oldest, newest = fetch_row(connection, load_query("event_span"), {"tolerance": "0 seconds"})
    if newest is None:
        return []
    horizon = retention_horizon(connection)
    first = Granularity.MONTH.ceil(oldest if horizon is None else max(oldest, horizon))
    end = Granularity.MONTH.floor(newest)
    return [] if first >= end else list(Window(first, end).split(Granularity.MONTH))[-_MONTHS:]


def user_tables(connection: Connection) -> list[tuple[str, str]]:
    """Return schema and name of the tables that hold a database's own data."""
    return connection.execute(load_query("backup_tables")).fetchall()


def read_jobs(connection: Connection) -> list[PolicyState]:
    """Return the policies and other jobs of the database, without TimescaleDB's own."""
    return [
        PolicyState(job_id, procedure, relation, {key: str(value) for key, value in config.items()}, scheduled)
        for job_id, procedure, relation, scheduled, config in connection.execute(load_query("backup_jobs"))
    ]


def _hypertables(connection: Connection) -> list[_Hypertable]:
    return [_Hypertable(*row) for row in connection.execute(load_query("backup_hypertables"))]


def _chunks(connection: Connection, table: _Hypertable) -> list[tuple[Any, ...]]:
    parameters = {"schema": table.schema, "table": table.table}
    return connection.execute(load_query("backup_chunks"), parameters).fetchall()


def _count_table(connection: Connection, schema: str, table: str) -> TableCount:
    query = sql.SQL("SELECT count(*), {} FROM {} AS t").format(_CHECKSUM, sql.Identifier(schema, table))
    name = table if schema == "public" else f"{schema}.{table}"
    return TableCount(name, *fetch_row(connection, query))


def _count_chunk(connection: Connection, table: _Hypertable, chunk: tuple[Any, ...]) -> ChunkCount:
    start, end, is_compressed = chunk
    query = sql.SQL("SELECT count(*), {}, {} FROM {} AS t WHERE {} >= %s AND {} < %s").format(
        _CHECKSUM,
        sql.SQL("sum(t.value)::text" if table.name == EVENTS else "NULL::text"),
        table.identifier,
        sql.Identifier(table.time),
        sql.Identifier(table.time),
    )
    rows, checksum, total = fetch_row(connection, query, [start, end])
    return ChunkCount(table.name, _text(start), _text(end), rows, checksum, is_compressed, total)


def _total(connection: Connection, table: _Hypertable, chunks: list[ChunkCount]) -> TableCount:
    """Return the count of a hypertable: what is in its chunks, and the first and last time by itself."""
    query = sql.SQL("SELECT min({0}), max({0}) FROM {1}").format(sql.Identifier(table.time), table.identifier)
    first, last = fetch_row(connection, query)
    return TableCount(
        table.name,
        sum(chunk.rows for chunk in chunks),
        str(sum(int(chunk.checksum) for chunk in chunks)),
        None if first is None else _text(first),
        None if last is None else _text(last),
    )


def _figures(connection: Connection, currency: str, months: Sequence[Window]) -> Iterator[MonthFigures]:
    """Yield the figures of months beside each other."""
    if not months:
        return
    window = Window(months[0].start, months[-1].end)
    for period in period_figures(connection, None, window, Granularity.MONTH, currency):
        figures: dict[str, Any] = asdict(period)
        figures |= figures.pop("rates")
        del figures["start"]
        values = {name: None if value is None else str(value) for name, value in figures.items()}
        yield MonthFigures(f"{period.start:%Y-%m}", values)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat()
