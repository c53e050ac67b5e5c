"""JSON Lines."""

import codecs
from collections.abc import Iterator, Mapping
from typing import Any

from analytics_pipeline.events.exact_json import NOT_PLAIN, parse_json, read_plain
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import OpenSource
from analytics_pipeline.intake.bounded_lines import LongLine, bounded_lines, decode_line
from analytics_pipeline.intake.rejection import RejectedEvent, shown


def read_json_lines(opened: OpenSource) -> Iterator[Record]:
    """Yield a record for every line that isn't blank."""
    for number, line in enumerate(bounded_lines(opened.stream, opened.skip_nul_bytes), start=1):
        if isinstance(line, LongLine):
            if not line.is_blank:
                yield Record(number, line.rejection, line.beginning, len(line.beginning))
        elif not line.isspace():
            record = line_record(number, line)
            if isinstance(record.content, RejectedEvent) and is_cut_off(line, opened):
                record = record._replace(content=cut_off())
            yield record


def read_line_blocks(opened: OpenSource, most_lines: int, most_bytes: int) -> Iterator[tuple[int, bytes] | Record]:
    """Yield what ``read_json_lines`` does, whole lines as blocks of many: the number of the first, and their bytes.

    A line beyond the bound, and one that may be cut off, is a record of its own.
    """
    block: list[bytes] = []
    first, size = 1, 0
    for number, line in enumerate(bounded_lines(opened.stream, opened.skip_nul_bytes), start=1):
        is_special = isinstance(line, LongLine) or is_cut_off(line, opened)
        if block and (is_special or len(block) >= most_lines or size >= most_bytes):
            yield first, b"".join(block)
            block, size = [], 0
        if isinstance(line, LongLine):
            if not line.is_blank:
                yield Record(number, line.rejection, line.beginning, len(line.beginning))
        elif is_special:
            if not line.isspace():
                record = line_record(number, line)
                is_part = isinstance(record.content, RejectedEvent)
                yield record._replace(content=cut_off()) if is_part else record
        else:
            if not block:
                first = number
            block.append(line)
            size += len(line)
    if block:
        yield first, b"".join(block)


def line_record(number: int, line: bytes) -> Record:
    """Return the record of a line."""
    return Record(number, _json_line(line), line, len(line))


def is_cut_off(line: bytes, opened: OpenSource) -> bool:
    """Return whether the line just read may be a part of one: packed data ended within it."""
    return not line.endswith(b"\n") and opened.is_cut


def cut_off() -> RejectedEvent:
    """Return the rejection of a line that damage has cut."""
    return RejectedEvent("cut off", "the line is cut off where the packed data is damaged: repair the file.")


def _json_line(line: bytes) -> Mapping[str, Any] | RejectedEvent:
    # Files that were appended to one another each begin with a byte order mark.
    line = line.removeprefix(codecs.BOM_UTF8)
    content = read_plain(line)
    if content is NOT_PLAIN:
        try:
            content = parse_json(decode_line(line))
        except RejectedEvent as rejection:
            return rejection
    if isinstance(content, dict):
        return content
    return RejectedEvent("not an object", f"{shown(content)} is not a JSON object: write one event per line.")
