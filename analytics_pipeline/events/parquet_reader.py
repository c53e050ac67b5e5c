"""Parquet into records, some thousand rows at a time; columns are the fields of an event."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from analytics_pipeline.events.columns import check_columns, is_unnamed, with_metadata
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import OpenSource
from analytics_pipeline.folders import writing_to_temporary
from analytics_pipeline.intake.rejection import RejectedEvent

_BATCH_ROWS = 5_000
_CHUNK_BYTES = 1 << 20
_INT96 = "INT96"


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A cell that can't be read: why, and what is kept of it."""

    rejection: RejectedEvent
    text: str

    def __str__(self) -> str:
        return self.text


def read_parquet(opened: OpenSource, name: str) -> Iterator[Record]:
    """Yield a record for every row; its line number is that of the row, from 1.

    Raises ``UnreadableSourceError`` if the columns are not those of events, ``OSError`` if the bytes are not Parquet.
    """
    try:
        with ExitStack() as stack:
            file = opened.stream
            if opened.position is None or opened.packed:
                # The directory of a Parquet file is at its end: unpack to disk, not to memory.
                with writing_to_temporary():
                    file = stack.enter_context(tempfile.TemporaryFile())
                _unpack(opened.stream, file)
            # INT96 holds years that nanoseconds don't: beyond 2262 they would become others.
            parquet = stack.enter_context(pq.ParquetFile(file, coerce_int96_timestamp_unit="us"))
            columns = [column for column in parquet.schema_arrow.names if not is_unnamed(column)]
            check_columns(columns, name)
            utc = _int96_columns(parquet)
            line = 0
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                size = batch.nbytes // max(batch.num_rows, 1)
                for row in _rows(batch, utc):
                    line += 1
                    yield Record(line, _content(row), row, size)
    except pa.ArrowException as error:
        raise OSError(str(error)) from error


def _unpack(stream: IO[bytes], file: IO[bytes]) -> None:
    """Copy to a temporary file; raises ``FolderError`` where there is no room, ``OSError`` where reading fails."""
    while chunk := stream.read(_CHUNK_BYTES):
        with writing_to_temporary():
            file.write(chunk)
    with writing_to_temporary():
        file.seek(0)


def _int96_columns(parquet: pq.ParquetFile) -> frozenset[str]:
    """Return the columns of INT96, which are instants in UTC by definition, though no zone is said."""
    columns = (parquet.schema.column(number) for number in range(len(parquet.schema)))
    return frozenset(column.path for column in columns if column.physical_type == _INT96)


def _rows(batch: pa.RecordBatch, utc: frozenset[str]) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    columns = [_cells(column, is_utc=name in utc) for name, column in zip(names, batch.columns, strict=True)]
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def _cells(column: pa.Array, *, is_utc: bool) -> list[Any]:
    """Return the cells as Python values, one by one where a column of them can't be read at once."""
    try:
        return _values(column, is_utc=is_utc)
    except Exception:  # noqa: BLE001 - whatever Arrow and Python raise, it is one cell that can't be read
        return [_cell(column[number : number + 1], is_utc=is_utc) for number in range(len(column))]


def _values(column: pa.Array, *, is_utc: bool) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        if is_utc or kind.tz is not None:
            column = column.cast(pa.timestamp(kind.unit, "UTC"))
        # As text, nanoseconds and a missing zone are still to be seen.
        column = column.cast(pa.string())
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        # Writers that know no text: whether it is one is checked.
        column = column.cast(pa.large_string())
    values: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    return values


def _cell(column: pa.Array, *, is_utc: bool) -> Any:
    """Return the one cell of a column."""
    try:
        return _values(column, is_utc=is_utc)[0]
    except UnicodeDecodeError as error:
        text = error.object.decode("utf-8", "backslashreplace")
        return _Unreadable(
            RejectedEvent("not UTF-8", f"byte {error.start + 1} of a text is not UTF-8: repair its encoding."), text
        )
    except KeyError:
        rejection = RejectedEvent("key twice in one object", "a map holds a key twice: keep one.")
        return _Unreadable(rejection, str(column[0]))
    except Exception as error:  # noqa: BLE001 - as above
        return _unreadable(column, error)


def _unreadable(column: pa.Array, error: Exception) -> _Unreadable:
    problem = " ".join(str(error).split()) or type(error).__name__
    rejection = RejectedEvent("cell that can't be read", f"a cell of type {column.type} can't be read: {problem}.")
    try:
        return _Unreadable(rejection, str(column[0]))
    except Exception:  # noqa: BLE001 - what can't be read may not be shown either
        return _Unreadable(rejection, "")


def _content(row: dict[str, Any]) -> Mapping[str, Any] | RejectedEvent:
    for value in row.values():
        if isinstance(value, _Unreadable):
            return value.rejection
    try:
        return with_metadata(row)
    except RejectedEvent as rejection:
        return rejection
