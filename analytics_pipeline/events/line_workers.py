"""Parsing JSON Lines in processes of their own, into what the server's COPY takes.

They are started by their own command line, not forked or spawned: whoever imports this package may have threads, and a
main module that must not run twice.
"""

import gc
import io
import pickle
import queue
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from types import TracebackType
from typing import IO, Self

from analytics_pipeline.events.copy_rows import CopyRows
from analytics_pipeline.events.lines import line_record
from analytics_pipeline.events.model import AnalyticsEvent, Parsing, parse_event, parse_fields
from analytics_pipeline.events.plain_lines import read_plain_lines
from analytics_pipeline.events.records import Record
from analytics_pipeline.intake.rejection import RejectedEvent

_END_SECONDS = 5.0
_READY = b"\n"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of a file, the first of them by its number, and the time that bounds the future."""

    first_line: int
    data: bytes
    now: datetime

    def records(self) -> Iterator[Record]:
        """Yield a record for every line that isn't blank."""
        for number, line in enumerate(io.BytesIO(self.data), start=self.first_line):
            if not line.isspace():
                yield line_record(number, line)


@dataclass(slots=True)
class ParsedChunk:
    """Of the events of a chunk the rows for COPY, how many there are, and the first and last instant.

    ``rejected`` holds the numbers of lines that are no events: why is found out by whoever keeps them.
    """

    rows: bytes = b""
    events: int = 0
    first: datetime | None = None
    last: datetime | None = None
    rejected: list[int] = field(default_factory=list)
    adjusted: Counter[str] = field(default_factory=Counter)


def parse_chunk(chunk: Chunk, parsing: Parsing) -> ParsedChunk:
    """Parse the lines of a chunk."""
    parsed = ParsedChunk()
    parsing = replace(parsing, adjusted=parsed.adjusted)
    events: list[AnalyticsEvent] = []
    for number, (line, fields) in enumerate(read_plain_lines(chunk.data), start=chunk.first_line):
        try:
            if fields is not None:
                events.append(parse_fields(fields, chunk.now, parsing))
            elif not line.isspace():
                events.append(_parse_line(number, line, chunk.now, parsing))
        except Exception:  # noqa: BLE001 - whatever it is, it is looked at again where the reason is kept
            parsed.rejected.append(number)
    if events:
        # In an order that others share, who may be storing the same events: so they wait for one another in turn.
        events.sort(key=attrgetter("timestamp"))
        parsed.rows = CopyRows().encode(events)
        parsed.events, parsed.first, parsed.last = len(events), events[0].timestamp, events[-1].timestamp
    return parsed


def _parse_line(number: int, line: bytes, now: datetime, parsing: Parsing) -> AnalyticsEvent:
    content = line_record(number, line).content
    if isinstance(content, RejectedEvent):
        raise content
    return parse_event(content, now=now, parsing=parsing)


class LineWorkers:
    """Processes that parse chunks, side by side. They end with the ``with`` statement, and when this process does."""

    def __init__(self, parsing: Parsing, count: int) -> None:
        """Start them; until the first one is up (``are_ready``) chunks are better parsed here."""
        self.count = count
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(max_workers=count, thread_name_prefix="line-workers")
        options = pickle.dumps(replace(parsing, adjusted=Counter()))
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(count)
        ]
        self.are_ready = False
        for process in self._processes:
            self._threads.submit(self._welcome, process, options)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes; what they are doing is of no use any more after an error."""
        for process in self._processes:
            if error is not None:
                process.kill()
            with suppress(OSError):
                _pipe(process.stdin).close()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            try:
                process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _pipe(process.stdout).close()

    def submit(self, chunk: Chunk) -> "Future[ParsedChunk | None]":
        """Have a chunk parsed; None comes out where the process has failed."""
        return self._threads.submit(self._parse, chunk)

    def _welcome(self, process: "subprocess.Popen[bytes]", options: bytes) -> None:
        with suppress(OSError):
            _pipe(process.stdin).write(options)
            _pipe(process.stdin).flush()
            self.are_ready = _pipe(process.stdout).readline() == _READY or self.are_ready
        self._idle.put(process)

    def _parse(self, chunk: Chunk) -> ParsedChunk | None:
        process = self._idle.get()
        try:
            pickle.dump(chunk, _pipe(process.stdin), protocol=pickle.HIGHEST_PROTOCOL)
            _pipe(process.stdin).flush()
            parsed = pickle.load(_pipe(process.stdout))  # noqa: S301 - from a process of ours
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            return None
        finally:
            self._idle.put(process)
        return parsed if isinstance(parsed, ParsedChunk) else None


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise OSError("the process has no pipe")
    return stream


def main() -> None:
    """Parse chunks from standard input until it ends."""
    # Ctrl-C reaches the whole group; whoever started this process ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, target = sys.stdin.buffer, sys.stdout.buffer
    parsing: Parsing = pickle.load(source)  # noqa: S301 - from the process that started this one
    target.write(_READY)
    target.flush()
    # Parsing makes next to no reference cycles, and is a sixth faster when none are looked for meanwhile.
    gc.disable()
    with suppress(EOFError, BrokenPipeError):
        while True:
            chunk: Chunk = pickle.load(source)  # noqa: S301 - as above
            pickle.dump(parse_chunk(chunk, parsing), target, protocol=pickle.HIGHEST_PROTOCOL)
            target.flush()
            gc.collect(0)
