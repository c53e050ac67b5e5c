"""What a span of events comes to, counted alike in the database and in the archive: rows, and a sum of their hashes.

A row is hashed as the texts of its columns, each with its length before it, so that no two rows look the same; instants
are their microseconds since 1970. The sum does not depend on the order of rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import TYPE_CHECKING, Any

from psycopg import sql

from analytics_pipeline.archive.delta_table import INSTANTS, TIMESTAMP, Archive
from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Rows of a span and the sum of their hashes, over columns in an order."""

    columns: tuple[str, ...]
    rows: int = 0
    checksum: int = 0

    def plus(self, rows: int, checksum: int) -> "Fingerprint":
        """Return what this and further rows come to."""
        return Fingerprint(self.columns, self.rows + rows, self.checksum + checksum)


def stored_fingerprint(connection: Connection, window: Window, columns: Sequence[str]) -> Fingerprint:
    """Return what the database holds of a half-open window."""
    texts = sql.SQL(" || ").join(
        sql.SQL("coalesce(length({0})::text || ':' || {0}, '-')").format(as_text(name)) for name in columns
    )
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || substr(md5({texts}), 1, 15))::bit(60)::bigint), 0) "
        "FROM {events} WHERE {time} >= %s AND {time} < %s"
    ).format(texts=texts, events=sql.Identifier(EVENTS), time=sql.Identifier(TIMESTAMP))
    rows, checksum = fetch_row(connection, query, [window.start, window.end])
    return Fingerprint(tuple(columns), rows, int(checksum))


def archived_fingerprint(archive: Archive, window: Window, columns: Sequence[str]) -> Fingerprint:
    """Return what the archive holds of a half-open window, read anew."""
    found = Fingerprint(tuple(columns))
    for batch in archive.batches(window, columns):
        found = found.plus(batch.num_rows, batch_checksum(batch))
    return found


def batch_checksum(batch: "pa.RecordBatch") -> int:
    """Return the sum of the hashes of a batch's rows, over its columns in their order."""
    return sum(map(row_hash, zip(*map(cells, batch.columns), strict=True)))


def row_hash(row: Iterable[Any]) -> int:
    """Return the hash of the cells of a row, as ``cells`` gives them."""
    text = "".join("-" if cell is None else f"{len(str(cell))}:{cell}" for cell in row)
    return int(md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def cells(column: "pa.Array") -> list[Any]:
    """Return the cells of a column as texts, of an instant as microseconds."""
    import pyarrow as pa

    found: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return found


def as_text(column: str) -> sql.Composed:
    """Return the expression of a column's text in the database: what the archive stores, of instants microseconds."""
    name = sql.Identifier(column)
    if column in INSTANTS:
        return sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint::text").format(name)
    return sql.SQL("{}::text").format(name)
