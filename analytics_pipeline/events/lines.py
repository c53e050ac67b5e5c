"""JSON Lines, and the bounded reading of lines that CSV shares.

Belongs here: bytes to lines, and a line to a JSON object. Does not belong here: the rules of an event.
"""

import codecs
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from analytics_pipeline.events.json_text import parse_json
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.rejection import RejectedEvent, shown

MAX_LINE_BYTES = 1_048_576
_DRAIN_BYTES = 1 << 16


def read_json_lines(stream: BinaryIO) -> Iterator[Record]:
    """Yield a record for every line that isn't blank."""
    for number, line in enumerate(bounded_lines(stream), start=1):
        if not line.isspace():
            yield Record(number, _json_line(line), line, len(line))


def _json_line(line: bytes) -> Mapping[str, Any] | RejectedEvent:
    try:
        if len(line) > MAX_LINE_BYTES:
            return overlong()
        content = parse_json(line.decode())
    except UnicodeDecodeError as error:
        return not_utf8(error)
    except RejectedEvent as rejection:
        return rejection
    if isinstance(content, dict):
        return content
    return RejectedEvent("not an object", f"{shown(content)} is not a JSON object: write one event per line.")


def bounded_lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of the stream, bounded: an over-long one comes cut, one byte longer than the bound."""
    line = stream.readline(MAX_LINE_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    while line:
        yield line
        if len(line) > MAX_LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = stream.readline(_DRAIN_BYTES)
        line = stream.readline(MAX_LINE_BYTES + 1)


def overlong() -> RejectedEvent:
    """Return the rejection of a line longer than the bound."""
    return RejectedEvent(
        "line too long",
        f"the line is longer than {MAX_LINE_BYTES:,} bytes: write one event per line, each ended.",
    )


def not_utf8(error: UnicodeDecodeError) -> RejectedEvent:
    """Return the rejection of a line whose bytes are not UTF-8."""
    return RejectedEvent("not UTF-8", f"byte {error.start + 1} of the line is not UTF-8: save the file as UTF-8.")
