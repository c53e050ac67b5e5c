"""Where events come from: files and standard input, their formats, and how far they have been read.

Belongs here: naming, opening, unpacking. Does not belong here: what a line means (``readers``).
"""

import gzip
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, cast

from analytics_pipeline.errors import AnalyticsError

STANDARD_INPUT = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_BUFFER_BYTES = 1 << 18


class Format(StrEnum):
    """A file format, under the name ``--format`` takes."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


FORMATS = {".jsonl": Format.JSONL, ".ndjson": Format.JSONL, ".csv": Format.CSV, ".parquet": Format.PARQUET}


@dataclass(frozen=True, slots=True)
class Source:
    """A file, or standard input (``path`` is None), and its format."""

    path: Path | None
    format: Format

    @classmethod
    def of(cls, argument: str | Path, file_format: Format | None = None) -> "Source":
        """Return the source an argument names: a path, or ``-`` for standard input, which needs the format.

        Raises ``AnalyticsError`` for a file that isn't there and for an ending that says nothing.
        """
        if str(argument) == STANDARD_INPUT:
            if file_format is None:
                raise AnalyticsError("Standard input has no ending that tells its format: add --format.")
            return cls(None, file_format)
        path = Path(argument)
        if not path.is_file():
            raise AnalyticsError(f"{path} is not a file: check the path.")
        ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
        file_format = file_format or FORMATS.get(ending.lower())
        if file_format is None:
            raise AnalyticsError(
                f"{path} does not end in {', '.join(FORMATS)} (optionally with .gz): rename it or add --format."
            )
        return cls(path.absolute(), file_format)

    @property
    def name(self) -> str:
        """What messages and rejects call the source: its absolute path, which still says where later."""
        return "standard input" if self.path is None else str(self.path)

    @property
    def size(self) -> int | None:
        """Bytes of the file on disk; None where it isn't known."""
        return None if self.path is None else self.path.stat().st_size


class OpenSource:
    """An open source: ``stream`` gives its bytes, unpacked if they are ``packed`` with gzip."""

    def __init__(self, buffered: "io.BufferedReader[Any]") -> None:
        """Recognise gzip by its first bytes: standard input has no name to tell by."""
        self._buffered = buffered
        # What reading has left out so far: NUL bytes before lines.
        self.nul_bytes = 0
        self.packed = buffered.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        self.stream: BinaryIO = buffered
        if self.packed:
            self.stream = cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=buffered), _BUFFER_BYTES))

    def skip_nul_bytes(self, count: int) -> None:
        """Count NUL bytes that are left out."""
        self.nul_bytes += count

    @property
    def position(self) -> int | None:
        """Stored bytes read so far; None on a pipe."""
        return self._buffered.tell() if self._buffered.seekable() else None


@contextmanager
def open_source(source: Source) -> Iterator[OpenSource]:
    """Open the source for reading. Raises ``AnalyticsError`` if that is not allowed."""
    if source.path is None:
        stdin: io.BufferedReader[Any] = io.BufferedReader(cast(io.RawIOBase, sys.stdin.buffer), _BUFFER_BYTES)
        try:
            yield OpenSource(stdin)
        finally:
            # Closing the wrapper would close the process's standard input.
            stdin.detach()
        return
    try:
        file = io.BufferedReader(io.FileIO(source.path), _BUFFER_BYTES)
    except OSError as error:
        raise AnalyticsError(f"Can't read {source.name}: {error.strerror}.") from error
    with file:
        yield OpenSource(file)
