"""The bounded reading of lines: memory is bounded by one line, and nothing of a file goes unseen.

Every byte of a file is in a line that is delivered, or is one of the NUL bytes that are counted, or (of a line beyond
the bound) is behind the beginning that is kept and in the length that is kept with it.
"""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from analytics_pipeline.intake.rejection import RejectedEvent

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
