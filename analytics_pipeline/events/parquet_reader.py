"""Parquet into records, some thousand rows at a time; columns are the fields of an event.

Belongs here: row groups, columns and Arrow's types. Does not belong here: the rules of an event (``model``).
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import IO, Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from analytics_pipeline.events.columns import check_columns, with_metadata
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.rejection import RejectedEvent
from analytics_pipeline.events.sources import OpenSource
from analytics_pipeline.folders import writing_to_temporary

_BATCH_ROWS = 5_000
_CHUNK_BYTES = 1 << 20


def read_parquet(opened: OpenSource, name: str) -> Iterator[Record]:
    """Yield a record for every row; its line number is that of the row, from 1.

    Raises ``AnalyticsError`` if the columns are not those of events, ``OSError`` if the bytes are not Parquet.
    """
    try:
        with ExitStack() as stack:
            file = opened.stream
            if opened.position is None or opened.packed:
                # The directory of a Parquet file is at its end: unpack to disk, not to memory.
                with writing_to_temporary():
                    file = stack.enter_context(tempfile.TemporaryFile())
                _unpack(opened.stream, file)
            parquet = stack.enter_context(pq.ParquetFile(file))
            check_columns(parquet.schema_arrow.names, name)
            line = 0
            for batch in parquet.iter_batches(batch_size=_BATCH_ROWS):
                size = batch.nbytes // max(batch.num_rows, 1)
                for row in _rows(batch):
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


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    names = batch.schema.names
    columns = [_cells(column) for column in batch.columns]
    for cells in zip(*columns, strict=True):
        yield dict(zip(names, cells, strict=True))


def _cells(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        # As text, nanoseconds and a missing zone are still to be seen.
        column = column.cast(pa.string())
    cells: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    return cells


def _content(row: dict[str, Any]) -> Mapping[str, Any] | RejectedEvent:
    try:
        return with_metadata(row)
    except RejectedEvent as rejection:
        return rejection
