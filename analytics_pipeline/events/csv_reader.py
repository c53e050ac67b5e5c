"""CSV into records: a header row of field names, one event per row, metadata as JSON text.

What separates cells is seen in the header, whose names are known, or said by Excel's line ``sep=``.
"""

import codecs
import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any

from analytics_pipeline.events.columns import check_columns, is_unnamed, with_metadata
from analytics_pipeline.events.lines import cut_off, is_cut_off
from analytics_pipeline.events.model import FIELDS
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import OpenSource, UnreadableSourceError
from analytics_pipeline.intake.bounded_lines import MAX_LINE_BYTES, LongLine, bounded_lines, decode_line
from analytics_pipeline.intake.rejection import RejectedEvent

_SEPARATORS = ",;\t|"
_sep_line = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE).fullmatch

# A row is bounded as a line is; the module's own bound for a cell is less, and holds for the whole process.
csv.field_size_limit(MAX_LINE_BYTES)


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
        self._size = 0
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
        if not self.taken:
            # Files that were appended to one another each begin with a byte order mark.
            line = line.removeprefix(codecs.BOM_UTF8)
        self.taken.append(line)
        self._size += len(line)
        if self._size > MAX_LINE_BYTES:
            raise RejectedEvent(
                "row too long",
                f"the row, of several lines, has more than {MAX_LINE_BYTES:,} bytes: check the quotes.",
            )
        if is_cut_off(line, self._opened):
            self.problem = cut_off()
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
    """Yield a record for every row; raise ``UnreadableSourceError`` if the header is not one of events."""
    lines = _CsvLines(opened)
    separator, header = _header(lines, name)
    rows = csv.reader(lines, delimiter=separator, strict=True)
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


def _header(lines: _CsvLines, name: str) -> tuple[str, list[str]]:
    """Return what separates cells, and the names of the columns; the first line that isn't blank has them."""
    separators = _SEPARATORS
    try:
        text = next((line for line in lines if not line.isspace()), "")
        if said := _sep_line(text):
            separators = said[1]
            text = next((line for line in lines if not line.isspace()), "")
        candidates = {separator: _cells(text, separator) for separator in separators}
    except (csv.Error, RejectedEvent) as error:
        raise UnreadableSourceError(f"{name} has no readable CSV header: {error}") from error
    # Of equals the first.
    separator = max(candidates, key=lambda each: len(FIELDS.intersection(candidates[each])))
    header = candidates[separator]
    check_columns([column for column in header if not is_unnamed(column)], name)
    return separator, header


def _cells(line: str, separator: str) -> list[str]:
    cells = next(csv.reader([line], delimiter=separator, strict=True), [])
    return [cell.strip() for cell in cells]


def _csv_row(header: list[str], row: list[str]) -> Mapping[str, Any]:
    if len(row) != len(header):
        raise RejectedEvent(
            "wrong number of cells",
            f"{len(row)} cells where the header has {len(header)}: check commas and quotes.",
        )
    # An empty cell is how CSV says null.
    fields = {column: cell for column, cell in zip(header, row, strict=True) if cell}
    return with_metadata({column: cell for column, cell in fields.items() if not is_unnamed(column)})
