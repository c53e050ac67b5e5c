"""CSV into records: a header row of field names, one event per row, metadata as JSON text.

Belongs here: rows, quotes and cells. Does not belong here: the rules of an event (``model``).
"""

import csv
from collections.abc import Iterator, Mapping
from typing import Any

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.columns import check_columns, with_metadata
from analytics_pipeline.events.lines import LongLine, bounded_lines, decode_line
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.rejection import RejectedEvent
from analytics_pipeline.events.sources import OpenSource


class _CsvLines:
    """Feeds the CSV reader, and remembers what it took for the record at hand: a lost quote takes many lines.

    An iterator class, not a generator: the CSV reader goes on after an exception from here.
    """

    def __init__(self, opened: OpenSource) -> None:
        self._opened = opened
        self._lines = bounded_lines(opened.stream, opened.skip_nul_bytes)
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        self.first = self._number + 1
        self.taken: list[bytes] = []
        self.problem: RejectedEvent | None = None

    def __iter__(self) -> "_CsvLines":
        return self

    def __next__(self) -> str:
        skipped = self._opened.nul_bytes
        line = next(self._lines)
        self._number += 1
        if isinstance(line, LongLine):
            self.taken.append(line.beginning)
            raise line.rejection
        if self.taken and self._opened.nul_bytes > skipped:
            # Within a cell they were part of its text.
            self.problem = RejectedEvent("NUL byte", "NUL bytes stood within a cell: repair the row.")
        self.taken.append(line)
        try:
            return decode_line(line)
        except RejectedEvent as rejection:
            self.problem = rejection
            return line.decode(errors="replace")

    def take(self) -> bytes:
        """Return the text of the record at hand and begin the next one."""
        raw = b"".join(self.taken)
        self._begin()
        return raw


def read_csv(opened: OpenSource, name: str) -> Iterator[Record]:
    """Yield a record for every row; raise ``AnalyticsError`` if the header is not one of events."""
    lines = _CsvLines(opened)
    rows = csv.reader(lines, strict=True)
    header = _csv_header(rows, name)
    while True:
        lines.take()
        content: Mapping[str, Any] | RejectedEvent
        try:
            row = next(rows)
            if not row:
                continue
            content = lines.problem or _csv_row(header, row)
        except StopIteration:
            return
        except csv.Error as error:
            content = lines.problem or RejectedEvent("not CSV", f"not CSV: {error}; check the quotes.")
        except RejectedEvent as rejection:
            content = rejection
        first = lines.first
        raw = lines.take()
        yield Record(first, content, raw, len(raw))


def _csv_header(rows: Iterator[list[str]], name: str) -> list[str]:
    try:
        header = next(rows, [])
    except (csv.Error, RejectedEvent) as error:
        raise AnalyticsError(f"{name} has no readable CSV header: {error}") from error
    check_columns(header, name)
    return header


def _csv_row(header: list[str], row: list[str]) -> Mapping[str, Any]:
    if len(row) != len(header):
        raise RejectedEvent(
            "wrong number of cells",
            f"{len(row)} cells where the header has {len(header)}: check commas and quotes.",
        )
    # An empty cell is how CSV says null.
    return with_metadata({column: cell for column, cell in zip(header, row, strict=True) if cell})
