"""Where events come from: files and standard input, their formats, and how far they have been read."""

import codecs
import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

from analytics_pipeline.errors import AnalyticsError, ArgumentError, UnknownNameError
from analytics_pipeline.events.unpacking import PACKINGS, Recoded, Unpacked, packing_of

STANDARD_INPUT = "-"
_BUFFER_BYTES = 1 << 18


class Format(StrEnum):
    """A file format, under the name ``--format`` takes."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


FORMATS = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".csv": Format.CSV, ".parquet": Format.PARQUET}
PACKED_ENDINGS = tuple(ending for packing in PACKINGS for ending in packing.endings)

# How text of two and four bytes a character may begin: with its mark, or with a letter or bracket of the first line.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNMARKED = ((re.compile(rb"(?:[ -~]\0){2}"), "utf-16-le"), (re.compile(rb"(?:\0[ -~]){2}"), "utf-16-be"))
_BEGINNING_BYTES = 4


class UnreadableSourceError(AnalyticsError):
    """A source that can't be read, or not to its end; it is named, with why. Others may well be readable."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or standard input (``path`` is None), its format, and the encoding of its text where it is known."""

    path: Path | None
    format: Format
    encoding: str | None = None

    @classmethod
    def of(cls, argument: str | Path, file_format: Format | None = None, encoding: str | None = None) -> "Source":
        """Return the source an argument names: a path, or ``-`` for standard input, which needs the format.

        Raises ``AnalyticsError`` for a file that isn't there, for an ending that says nothing, and for an encoding
        that nobody knows.
        """
        if encoding is not None:
            _require_encoding(encoding)
        if str(argument) == STANDARD_INPUT:
            if file_format is None:
                raise ArgumentError("Standard input has no ending that shows its format: add --format.")
            return cls(None, file_format, encoding)
        path = Path(argument)
        if not path.is_file():
            raise AnalyticsError(f"{path} is not a file: check the path.")
        file_format = file_format or format_of(path.name)
        if file_format is None:
            raise ArgumentError(
                f"{path} does not end in {', '.join(FORMATS)} (optionally with {', '.join(PACKED_ENDINGS)}): rename "
                "it or add --format."
            )
        return cls(path.absolute(), file_format, encoding)

    @property
    def name(self) -> str:
        """What messages and rejects call the source: its absolute path, which still says where later."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def size(self) -> int | None:
        """Bytes of the file on disk; None where it isn't known."""
        return None if self.path is None else self.path.stat().st_size


def split_name(name: str) -> tuple[str, str]:
    """Split a file's name before its endings, in whatever case they are: ``a.b``, ``.JSONL.gz``."""
    packed = next((ending for ending in PACKED_ENDINGS if name.lower().endswith(ending)), "")
    inner = name[: len(name) - len(packed)]
    stem, dot, ending = inner.rpartition(".")
    return (stem, f".{ending}{name[len(inner) :]}") if dot and stem else (inner, name[len(inner) :])


def format_of(name: str) -> Format | None:
    """Return the format that the endings of a file's name say, None if they say none."""
    ending = split_name(name)[1].lower()
    return FORMATS.get(next((ending.removesuffix(p) for p in PACKED_ENDINGS if ending.endswith(p)), ending))


def _require_encoding(encoding: str) -> None:
    try:
        # Some codecs of Python make no text, or none bit by bit.
        codecs.getincrementaldecoder(encoding)().decode(b"", True)  # noqa: FBT003 - takes no names
        "".encode(encoding)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnknownNameError(f"{encoding!r} is no encoding of text: name one like utf-16-le or cp1252.") from error


class OpenSource:
    """An open source: ``stream`` gives its bytes, unpacked if they are ``packed``, and text as UTF-8."""

    def __init__(self, buffered: "io.BufferedReader[Any]", source: Source) -> None:
        """Recognise packed data and UTF-16 by their first bytes: standard input has no name to tell by.

        Raises ``UnreadableSourceError`` for text that is in UTF-16 and doesn't say in which byte order.
        """
        self._buffered = buffered
        # What reading has left out so far: NUL bytes before lines.
        self.nul_bytes = 0
        self.packed = packing_of(buffered.peek(_BEGINNING_BYTES)) is not None
        stream: io.BufferedReader[Any] = buffered
        self._unpacked = Unpacked(cast(BinaryIO, buffered)) if self.packed else None
        if self._unpacked is not None:
            stream = io.BufferedReader(self._unpacked, _BUFFER_BYTES)
        if source.format is not Format.PARQUET:
            encoding = source.encoding or _encoding(stream.peek(_BEGINNING_BYTES)[:_BEGINNING_BYTES], source.name)
            if encoding is not None:
                stream = io.BufferedReader(Recoded(cast(BinaryIO, stream), encoding), _BUFFER_BYTES)
        self.stream = cast(BinaryIO, stream)

    def skip_nul_bytes(self, count: int) -> None:
        """Count NUL bytes that are left out."""
        self.nul_bytes += count

    @property
    def position(self) -> int | None:
        """Stored bytes read so far; None on a pipe."""
        return self._buffered.tell() if self._buffered.seekable() else None

    @property
    def damage(self) -> str | None:
        """Why the stream ends before the source does; None as far as it has been read without damage."""
        return None if self._unpacked is None else self._unpacked.damage

    @property
    def is_cut(self) -> bool:
        """Whether the stream ended within packed data: then its last line may be a part of one."""
        return self._unpacked is not None and self._unpacked.is_cut


def _encoding(beginning: bytes, name: str) -> str | None:
    """Return the encoding that a byte order mark names; None for UTF-8."""
    for mark, encoding in _MARKS:
        if beginning.startswith(mark):
            return encoding
    for pattern, encoding in _UNMARKED:
        if pattern.match(beginning):
            raise UnreadableSourceError(f"{name} is in UTF-16 without a byte order mark: add --encoding {encoding}.")
    return None


@contextmanager
def open_source(source: Source) -> Iterator[OpenSource]:
    """Open the source for reading. Raises ``UnreadableSourceError`` if that is not allowed, or its encoding unknown."""
    if source.path is None:
        stdin: io.BufferedReader[Any] = io.BufferedReader(cast(io.RawIOBase, sys.stdin.buffer), _BUFFER_BYTES)
        try:
            yield OpenSource(stdin, source)
        finally:
            # Closing the wrapper would close the process's standard input.
            stdin.detach()
        return
    try:
        file = io.BufferedReader(io.FileIO(source.path), _BUFFER_BYTES)
    except OSError as error:
        raise UnreadableSourceError(f"Can't read {source.name}: {error.strerror}.") from error
    with file:
        yield OpenSource(file, source)
