"""Ingestion: files in, events and rejects out, the same however often it is repeated.

Lines of large files are parsed by processes beside this one, into rows that go straight into the hypertable. Where such
a batch holds events that are known, late or refused, its lines are parsed here and take the way of all others.

A killed ingestion is run again: what is in is recognised, batch by batch, and the rest goes in.
"""

import gc
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from psycopg.pq import TransactionStatus

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.aliases import load_aliases
from analytics_pipeline.events.announcements import announce_change
from analytics_pipeline.events.bulk_load import BATCH_EVENTS, EventLoader, Loaded
from analytics_pipeline.events.contradictions import OnConflict, Origin, Refusal, event_json
from analytics_pipeline.events.erased import ErasedIds, load_erased
from analytics_pipeline.events.line_workers import Chunk, LineWorkers, ParsedChunk
from analytics_pipeline.events.lines import read_line_blocks
from analytics_pipeline.events.model import AnalyticsEvent, Parsing, parse_event
from analytics_pipeline.events.readers import naming_damage, read_records
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.sources import Format, OpenSource, Source, UnreadableSourceError, open_source
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.intake.rejects import (
    ERASED_COMPANY,
    REJECTS_KEPT,
    Reject,
    RejectLimit,
    RejectsFile,
    store_rejects,
)
from analytics_pipeline.signals import describing
from analytics_pipeline.timescale.clock import DatabaseClock
from analytics_pipeline.timescale.connection import Connection, cancel_statements

# Records may be large: a batch ends early when it has taken this much of the file.
_BATCH_BYTES = 16_777_216
# From so many bytes of lines on, starting processes that parse them costs less than it saves.
_BYTES_FOR_WORKERS = 33_554_432
_MAX_WORKERS = 4
# What a process is given at once, or half a batch: several of them are in memory at a time.
_BLOCK_BYTES = 8_388_608
# How long one reading of the clock serves: far less than what it may be wrong by.
_CLOCK_SECONDS = 1.0
# The kind of reject that a defect of ours makes of a record.
UNFORESEEN = "record that can't be parsed"
# An interrupted batch is cancelled again and again: it may have been between two statements.
_CANCEL_SECONDS = 0.1


@dataclass(slots=True)
class IngestSummary:
    """What an ingestion has stored so far, and at its end.

    ``rejected`` counts the ``conflicts`` in: records that contradict a stored event; ``not_kept`` of them are counted
    and not kept. ``nul_bytes`` stood before lines, where a crash leaves them, and were skipped. ``adjusted`` counts
    what was adjusted in records (``instants``), and ``unreadable`` says of each source that couldn't be read to its end
    why.
    """

    read: int = 0
    new: int = 0
    already_there: int = 0
    replaced: int = 0
    rejected: int = 0
    conflicts: int = 0
    not_kept: int = 0
    nul_bytes: int = 0
    adjusted: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    seconds: float = 0.0

    @property
    def rows_per_second(self) -> float:
        """Records read per second of wall time."""
        return self.read / self.seconds if self.seconds else 0.0


class SourcesUnreadableError(AnalyticsError):
    """Sources couldn't be read to their end, each in a line; ``summary`` says what is stored of all of them."""

    def __init__(self, summary: IngestSummary) -> None:
        """Keep what was done beside what wasn't."""
        super().__init__("\n".join(summary.unreadable))
        self.summary = summary


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingestion is: the source at hand, bytes of it read (None on a pipe), and the figures."""

    source: Source
    position: int | None
    summary: IngestSummary


@dataclass(slots=True)
class _Batch:
    source: Source
    limit: RejectLimit
    events: list[AnalyticsEvent] = field(default_factory=list)
    # Of each event, where it stood.
    lines: list[int] = field(default_factory=list)
    # Those that are kept; ``reasons`` counts all.
    rejects: list[Reject] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    adjusted: Counter[str] = field(default_factory=Counter)
    nul_bytes: int = 0
    position: int | None = None
    # Why the source can't be read any further.
    unreadable: str | None = None
    # Lines of which a process has made rows; ``events`` is empty then, unless they had to be parsed here.
    chunk: Chunk | None = None
    parsed: ParsedChunk | None = None

    @property
    def size(self) -> int:
        """How many events there are."""
        return len(self.events) if self.parsed is None else self.parsed.events

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last instant of the events."""
        if self.parsed is not None and self.parsed.first is not None and self.parsed.last is not None:
            return self.parsed.first, self.parsed.last
        timestamps = [event.timestamp for event in self.events]
        return (min(timestamps), max(timestamps)) if timestamps else None

    @property
    def rejected(self) -> int:
        """How many records are rejected, whether they are kept or only counted."""
        return self.reasons.total()

    def reject(self, record: Record, rejection: RejectedEvent, file: RejectsFile, erased: ErasedIds) -> None:
        name, company_id, text, reason = self.source.name, record.company_id, record.text, rejection.reason
        kind = rejection.kind
        if company_id is not None and erased.is_erased(company_id):
            # Counted alone, whatever is wrong with it.
            kind, company_id = ERASED_COMPANY, None
        elif erased.ids and company_id is not None:
            text, reason = erased.record(company_id, record.content, text), erased.text(company_id, reason)
        self._add(Reject(name, record.line, kind, reason, company_id, text), file)

    def refuse(self, refusal: Refusal, line: int, file: RejectsFile) -> None:
        event, stored, rejection = refusal
        reject = Reject(
            source=self.source.name,
            line=line,
            kind=rejection.kind,
            reason=rejection.reason,
            company_id=event.company_id,
            record=event_json(event),
            stored=None if stored is None else event_json(stored),
        )
        self._add(reject, file)

    def _add(self, reject: Reject, file: RejectsFile) -> None:
        self.reasons[reject.kind] += 1
        if self.limit.keeps(reject):
            self.rejects.append(reject)
            file.add(reject)


def ingest(
    sources: Iterable[Source],
    connection: Connection,
    *,
    rejects_path: Path,
    rejects_kept: int = REJECTS_KEPT,
    on_conflict: OnConflict = OnConflict.REJECT,
    parsing: Parsing | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> IngestSummary:
    """Store the events of the sources; keep what can't be one in ``rejects_path`` and in the rejects table.

    Of each source and kind of reason the first ``rejects_kept`` are kept, the others counted.

    A record that contradicts a stored event of its id and timestamp is rejected, or (``REPLACE``) takes its place;
    either way both are kept in ``analytics_event_conflicts``. ``parsing`` says what records leave open; former names
    of companies and users are those that the database knows, and so are those that were erased.

    Commits batch by batch over the connection, which must not be inside a transaction. Raises
    ``SourcesUnreadableError`` in the end, when some source couldn't be read as a whole: what was read of it and all
    others are stored by then. Raises ``FolderError`` for a folder that can't be written to, which is no fault of a
    source, and ``ClockError`` before anything is stored when this machine's clock is too far from the database's.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("ingest() commits batch by batch: the connection must not be inside a transaction")
    started = time.perf_counter()
    clock = DatabaseClock(connection)
    sources = list(sources)
    parsing = replace(parsing or Parsing(), aliases=load_aliases(connection), erased=load_erased(connection))
    summary = IngestSummary()
    loader = EventLoader(connection, on_conflict)

    def stored_so_far() -> str:
        return (
            f"{summary.read:,} records are read and stay stored, {summary.new:,} of them new, {summary.rejected:,} "
            "rejected; run the same command again for the rest."
        )

    limit = RejectLimit(rejects_kept)
    with (
        describing(stored_so_far),
        RejectsFile(rejects_path) as rejects_file,
        _counted(limit, connection, rejects_file),
        ThreadPoolExecutor(max_workers=1) as pool,
        _line_workers(sources, parsing) as workers,
    ):
        reading = _Reading(rejects_file, limit, clock, parsing, workers, loader)

        def store(batch: _Batch) -> None:
            parsed = batch.parsed
            if parsed is not None and parsed.first is not None and loader.copy_new(parsed.rows, parsed.first):
                loaded, origin = Loaded(parsed.events), Origin(batch.source.name)
            else:
                _parse_here(batch, parsing)
                origin = Origin(batch.source.name, batch.events, batch.lines)
                loaded = loader.load(batch.events, origin)
            if loaded.new or loaded.replaced:
                announce_change(connection)
            _count(summary, batch, loaded)
            for refusal in loaded.refused:
                batch.refuse(refusal, origin.line_of(refusal.event), rejects_file)
            store_rejects(connection, batch.rejects)
            summary.rejected += batch.rejected
            summary.not_kept += batch.rejected - len(batch.rejects)
            summary.reasons += batch.reasons
            summary.seconds = time.perf_counter() - started

        stored: Future[None] | None = None
        try:
            for batch in _batches(sources, reading):
                if stored is not None:
                    stored.result()
                    progress(Progress(batch.source, batch.position, summary))
                # The server stores this batch while the next one is parsed.
                stored = pool.submit(store, batch)
            if stored is not None:
                stored.result()
                progress(Progress(batch.source, batch.position, summary))
        except (KeyboardInterrupt, SystemExit):
            # The batch at hand is undone: it may be waiting for a lock.
            while stored is not None and not stored.done():
                cancel_statements()
                wait([stored], timeout=_CANCEL_SECONDS)
            raise
    if summary.unreadable:
        raise SourcesUnreadableError(summary)
    return summary


@contextmanager
def _counted(limit: RejectLimit, connection: Connection, rejects_file: RejectsFile) -> Iterator[None]:
    """Write down what the limit has left out once no record is read any more, after an error too."""
    try:
        yield
    except AnalyticsError:
        limit.store(connection)
        rejects_file.add_counts(limit)
        raise
    limit.store(connection)
    rejects_file.add_counts(limit)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What all sources are read with."""

    rejects_file: RejectsFile
    limit: RejectLimit
    clock: DatabaseClock
    parsing: Parsing
    workers: LineWorkers | None
    loader: EventLoader


@contextmanager
def _line_workers(sources: Sequence[Source], parsing: Parsing) -> Iterator[LineWorkers | None]:
    """Start processes that parse lines, if there are lines enough and processors to do it on; else give None."""
    size = sum(source.size or 0 for source in sources if source.format is Format.JSONL)
    processors = len(os.sched_getaffinity(0))
    if size < _BYTES_FOR_WORKERS or processors == 1:
        yield None
        return
    with LineWorkers(parsing, min(processors, _MAX_WORKERS)) as workers:
        yield workers


def _batches(sources: Iterable[Source], reading: _Reading) -> Iterator[_Batch]:
    """Yield the records of all sources, parsed, in batches that never span two sources."""
    for source in sources:
        try:
            with open_source(source) as opened:
                read = _side_by_side if reading.workers and source.format is Format.JSONL else _one_by_one
                skipped = 0
                for batch in read(source, opened, reading):
                    batch.nul_bytes, skipped = opened.nul_bytes - skipped, opened.nul_bytes
                    yield batch
        except UnreadableSourceError as error:
            yield _Batch(source, reading.limit, unreadable=str(error))


def _one_by_one(source: Source, opened: OpenSource, reading: _Reading) -> Iterator[_Batch]:
    """Yield batches that are parsed here."""
    records = read_records(opened, source.format, source.name)
    is_more = True
    while is_more:
        batch = _Batch(source, reading.limit)
        try:
            with _collector_paused():
                is_more = _fill(batch, records, reading)
        except UnreadableSourceError as error:
            # A damaged file gives up what could be read of it.
            batch.unreadable = str(error)
            is_more = False
        batch.position = opened.position
        yield batch


def _side_by_side(source: Source, opened: OpenSource, reading: _Reading) -> Iterator[_Batch]:
    """Yield batches of lines in the order of the file, parsed by processes as long as events are likely to be new."""
    workers = reading.workers
    waiting: deque[tuple[_Batch, Future[ParsedChunk | None] | None]] = deque()
    problem = None
    try:
        with naming_damage(opened, source.format, source.name):
            for block in read_line_blocks(opened, BATCH_EVENTS // 2, _BLOCK_BYTES):
                batch = _Batch(source, reading.limit, position=opened.position)
                future = None
                if isinstance(block, Record):
                    _fill(batch, iter([block]), reading)
                else:
                    chunk = Chunk(*block, reading.clock.now())
                    if workers is not None and workers.are_ready and reading.loader.takes_rows:
                        batch.chunk, future = chunk, workers.submit(chunk)
                    else:
                        with _collector_paused():
                            _fill(batch, chunk.records(), reading)
                waiting.append((batch, future))
                while len(waiting) > (0 if future is None or workers is None else workers.count):
                    yield _parsed(*waiting.popleft(), reading)
    except UnreadableSourceError as error:
        problem = str(error)
    while waiting:
        yield _parsed(*waiting.popleft(), reading)
    if problem is not None:
        yield _Batch(source, reading.limit, position=opened.position, unreadable=problem)


def _parsed(batch: _Batch, future: "Future[ParsedChunk | None] | None", reading: _Reading) -> _Batch:
    """Return the batch with what a process has made of its lines; those that are no events are rejected here."""
    chunk = batch.chunk
    if future is None or chunk is None:
        return batch
    parsed = future.result()
    if parsed is None:
        batch.chunk = None
        _fill(batch, chunk.records(), reading)
        return batch
    batch.parsed = parsed
    if parsed.rejected:
        rejected = set(parsed.rejected)
        rest = _Batch(batch.source, batch.limit)
        # Parsed again for the reason. The time of the chunk decides, so that all of them are rejected again.
        for record in chunk.records():
            if record.line in rejected:
                _judge(rest, record, chunk.now, reading.parsing, reading.rejects_file)
        batch.rejects, batch.reasons = rest.rejects, rest.reasons
    batch.adjusted += parsed.adjusted
    return batch


def _parse_here(batch: _Batch, parsing: Parsing) -> None:
    """Parse the lines of a batch whose rows can't go straight in; those that are no events are rejected already."""
    chunk, parsed = batch.chunk, batch.parsed
    batch.chunk, batch.parsed = None, None
    if chunk is None or parsed is None:
        return
    rejected = set(parsed.rejected)
    parsing = replace(parsing, adjusted=Counter())
    for record in chunk.records():
        if record.line not in rejected and not isinstance(record.content, RejectedEvent):
            batch.events.append(parse_event(record.content, now=chunk.now, parsing=parsing))
            batch.lines.append(record.line)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the search for reference cycles, for one batch: parsing makes none, and is a sixth faster unsearched."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _fill(batch: _Batch, records: Iterator[Record], reading: _Reading) -> bool:
    """Parse records into the batch until it is full; return whether there may be more of them."""
    parsing = replace(reading.parsing, adjusted=batch.adjusted)
    clock, rejects_file = reading.clock, reading.rejects_file
    size = 0
    now, until = clock.now(), time.monotonic() + _CLOCK_SECONDS
    for record in records:
        if time.monotonic() > until:
            now, until = clock.now(), time.monotonic() + _CLOCK_SECONDS
        _judge(batch, record, now, parsing, rejects_file)
        size += record.size
        if size >= _BATCH_BYTES or len(batch.events) >= BATCH_EVENTS or batch.rejected >= BATCH_EVENTS:
            return True
    return False


def _judge(batch: _Batch, record: Record, now: datetime, parsing: Parsing, rejects_file: RejectsFile) -> None:
    """Add a record to the batch, as an event or as a reject."""
    content = record.content
    try:
        if isinstance(content, RejectedEvent):
            raise content  # noqa: TRY301 - as whatever parse_event() raises
        batch.events.append(parse_event(content, now=now, parsing=parsing))
        batch.lines.append(record.line)
    except RejectedEvent as rejection:
        batch.reject(record, rejection, rejects_file, parsing.erased)
    except Exception as error:  # noqa: BLE001 - said below
        # A record that no rule has foreseen is one that can't be taken, and no reason to leave out the others.
        problem = f"{type(error).__name__}: {error}".strip()
        batch.reject(record, RejectedEvent(UNFORESEEN, f"it can't be parsed: {problem}."), rejects_file, parsing.erased)


def _count(summary: IngestSummary, batch: _Batch, loaded: Loaded) -> None:
    """Count what became of a batch's events; what it rejects is counted once all of it is known."""
    summary.read += batch.size + batch.rejected
    summary.new += loaded.new
    summary.replaced += loaded.replaced
    summary.already_there += batch.size - loaded.new - loaded.replaced - len(loaded.refused)
    summary.conflicts += loaded.conflicts
    summary.nul_bytes += batch.nul_bytes
    summary.adjusted += batch.adjusted
    if batch.unreadable is not None:
        summary.unreadable.append(batch.unreadable)
    if batch.span is not None:
        first, last = batch.span
        summary.first = first if summary.first is None else min(first, summary.first)
        summary.last = last if summary.last is None else max(last, summary.last)
