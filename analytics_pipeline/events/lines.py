"""JSON Lines, and the bounded reading of lines that CSV shares.

Belongs here: bytes to lines, and a line to a JSON object. Does not belong here: the rules of an event.

Every byte of a file is in a line that is delivered, or is one of the NUL bytes that are counted, or (of a line beyond
the bound) is behind the beginning that is kept and in the length that is kept with it. Memory is bounded by one line.
"""

import codecs
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from analytics_pipeline.events.json_text import NOT_PLAIN, parse_json, read_plain
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.rejection import RejectedEvent, shown
from analytics_pipeline.events.sources import OpenSource

MAX_LINE_BYTES = 1_048_576
_DRAIN_BYTES = 1 << 16
_NUL = b"\0"


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than the allowed bytes: its beginning, its length without line end, and if it is all blank."""

    beginning: bytes
    length: int
    is_blank: bool

    @property
    def rejection(self) -> RejectedEvent:
        """Why it is no record."""
        return RejectedEvent(
            "line too long",
            f"the line has {self.length:,} bytes, more than {len(self.beginning):,}: write one record per line, each "
            "ended. Its beginning is kept.",
        )


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
    """Tell whether the line just read may be a part of one: packed data ended within it."""
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


def bounded_lines(
    stream: BinaryIO, skip_nul_bytes: Callable[[int], None] | None = None, *, limit: int = MAX_LINE_BYTES
) -> Iterator[bytes | LongLine]:
    """Yield the lines of the stream with their line ends, and one of more than ``limit`` bytes as a ``LongLine``.

    NUL bytes before a line, which a crash or a truncated log leaves there, are left out and their number handed to
    ``skip_nul_bytes``; without it they are part of the line. A byte order mark at the beginning is left out.
    """
    is_first = True
    while line := stream.readline(limit + 1):
        if is_first:
            line = _filled(line.removeprefix(codecs.BOM_UTF8), stream, limit)
        if skip_nul_bytes is not None and line.startswith(_NUL):
            line, skipped = _without_leading_nuls(line, stream, limit)
            skip_nul_bytes(skipped)
            if is_first:
                line = _filled(line.removeprefix(codecs.BOM_UTF8), stream, limit)
        is_first = False
        if len(line) > limit and not line.endswith(b"\n"):
            yield _drained(line, stream, limit)
        elif line:
            yield line


def _without_leading_nuls(line: bytes, stream: BinaryIO, limit: int) -> tuple[bytes, int]:
    """Return the line from its first other byte on, as far as the bound, and how many NUL bytes stood before it."""
    skipped = 0
    while line:
        rest = line.lstrip(_NUL)
        skipped += len(line) - len(rest)
        if rest:
            return _filled(rest, stream, limit), skipped
        line = stream.readline(limit + 1)
    return line, skipped


def _filled(line: bytes, stream: BinaryIO, limit: int) -> bytes:
    """Return the line with what belongs to it and the bound has room for again."""
    return line if line.endswith(b"\n") else line + stream.readline(limit + 1 - len(line))


def _drained(line: bytes, stream: BinaryIO, limit: int) -> LongLine:
    """Read to the end of a line beyond the bound."""
    length, is_blank = len(line), line.isspace()
    while rest := stream.readline(_DRAIN_BYTES):
        length += len(rest)
        is_blank = is_blank and rest.isspace()
        if rest.endswith(b"\n"):
            length -= 1
            break
    return LongLine(line[:limit], length, is_blank)


def decode_line(line: bytes) -> str:
    """Return the text of a line. Raises ``RejectedEvent`` for bytes that are not UTF-8, and for NUL bytes."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise RejectedEvent(
            "not UTF-8", f"byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8."
        ) from error
    if _NUL in line:
        raise RejectedEvent(
            "NUL byte",
            f"byte {line.index(_NUL) + 1} of the line is NUL: the file was damaged there, or is not UTF-8; repair the "
            "line.",
        )
    return text
