"""Ingestion: files in, events and rejects out, the same however often it is repeated.

Belongs here: batches, counting, and parsing one batch while the one before it is stored. Does not belong
here: file formats (``readers``), rules (``model``), statements (``load``, ``rejects``), printing (``cli``).

A killed ingestion is run again: what is in is recognised, batch by batch, and the rest goes in.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from psycopg.pq import TransactionStatus

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.contradictions import OnConflict, Origin, Refusal, event_json
from analytics_pipeline.events.load import BATCH_EVENTS, EventLoader, Loaded
from analytics_pipeline.events.model import AnalyticsEvent, parse_event
from analytics_pipeline.events.readers import read_records
from analytics_pipeline.events.records import Record
from analytics_pipeline.events.rejection import RejectedEvent
from analytics_pipeline.events.rejects import REJECTS_KEPT, Reject, RejectLimit, RejectsFile, store_rejects
from analytics_pipeline.events.sources import Source, open_source
from analytics_pipeline.signals import describing
from analytics_pipeline.timescale.clock import DatabaseClock
from analytics_pipeline.timescale.connection import Connection, cancel_statements

# Records may be large: a batch ends early when it has taken this much of the file.
_BATCH_BYTES = 16_777_216
# An interrupted batch is cancelled again and again: it may have been between two statements.
_CANCEL_SECONDS = 0.1


@dataclass(slots=True)
class IngestSummary:
    """What an ingestion has stored so far, and at its end.

    ``rejected`` counts the ``conflicts`` in: records that contradict a stored event; ``not_kept`` of them are counted
    and not kept. ``nul_bytes`` stood before lines, where a crash leaves them, and were skipped.
    """

    read: int = 0
    new: int = 0
    already_there: int = 0
    replaced: int = 0
    rejected: int = 0
    conflicts: int = 0
    not_kept: int = 0
    nul_bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    seconds: float = 0.0

    @property
    def rows_per_second(self) -> float:
        """Records read per second of wall time."""
        return self.read / self.seconds if self.seconds else 0.0


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
    nul_bytes: int = 0
    position: int | None = None

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    def reject(self, record: Record, rejection: RejectedEvent, file: RejectsFile) -> None:
        name, company_id = self.source.name, record.company_id
        self._add(Reject(name, record.line, rejection.kind, rejection.reason, company_id, record.text), file)

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
    progress: Callable[[Progress], None] = lambda _: None,
) -> IngestSummary:
    """Store the events of the sources; keep what can't be one in ``rejects_path`` and in the rejects table.

    Of each source and kind of reason the first ``rejects_kept`` are kept, the others counted.

    A record that contradicts a stored event of its id and timestamp is rejected, or (``REPLACE``) takes its place;
    either way both are kept in ``analytics_event_conflicts``.

    Commits batch by batch over the connection, which must not be inside a transaction. Raises
    ``AnalyticsError`` for a source that is unreadable as a whole, after storing what was read before, ``FolderError``
    for a folder that can't be written to, which is no fault of a source, and ``ClockError`` before anything is stored
    when this machine's clock is too far from the database's.
    """
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        raise ValueError("ingest() commits batch by batch: the connection must not be inside a transaction")
    started = time.perf_counter()
    clock = DatabaseClock(connection)
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
    ):

        def store(batch: _Batch) -> None:
            origin = Origin(batch.source.name, batch.events, batch.lines)
            loaded = loader.load(batch.events, origin)
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
            for batch in _batches(sources, rejects_file, limit, clock):
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
    return summary


@contextmanager
def _counted(limit: RejectLimit, connection: Connection, rejects_file: RejectsFile) -> Iterator[None]:
    """Write down what the limit has left out once no record is read any more, of a damaged source, too."""
    try:
        yield
    except AnalyticsError:
        limit.store(connection)
        rejects_file.add_counts(limit)
        raise
    limit.store(connection)
    rejects_file.add_counts(limit)


def _batches(
    sources: Iterable[Source], rejects_file: RejectsFile, limit: RejectLimit, clock: DatabaseClock
) -> Iterator[_Batch]:
    """Yield the records of all sources, parsed, in batches that never span two sources."""
    for source in sources:
        with open_source(source) as opened:
            records = read_records(opened, source.format, source.name)
            is_more = True
            skipped = 0
            while is_more:
                batch = _Batch(source, limit)
                try:
                    with _collector_paused():
                        is_more = _fill(batch, records, rejects_file, clock)
                except AnalyticsError:
                    # A damaged file gives up what could be read of it.
                    batch.nul_bytes = opened.nul_bytes - skipped
                    yield batch
                    raise
                batch.position = opened.position
                batch.nul_bytes = opened.nul_bytes - skipped
                skipped = opened.nul_bytes
                yield batch


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


def _fill(batch: _Batch, records: Iterator[Record], rejects_file: RejectsFile, clock: DatabaseClock) -> bool:
    """Parse records into the batch until it is full; tell whether there may be more of them."""
    events = batch.events
    size = 0
    for record in records:
        content = record.content
        try:
            if isinstance(content, RejectedEvent):
                raise content
            events.append(parse_event(content, now=clock.now()))
            batch.lines.append(record.line)
        except RejectedEvent as rejection:
            batch.reject(record, rejection, rejects_file)
        size += record.size
        if size >= _BATCH_BYTES or len(events) >= BATCH_EVENTS or batch.rejected >= BATCH_EVENTS:
            return True
    return False


def _count(summary: IngestSummary, batch: _Batch, loaded: Loaded) -> None:
    """Count what became of a batch's events; what it rejects is counted once all of it is known."""
    summary.read += len(batch.events) + batch.rejected
    summary.new += loaded.new
    summary.replaced += loaded.replaced
    summary.already_there += len(batch.events) - loaded.new - loaded.replaced - len(loaded.refused)
    summary.conflicts += loaded.conflicts
    summary.nul_bytes += batch.nul_bytes
    if batch.events:
        timestamps = [event.timestamp for event in batch.events]
        first, last = min(timestamps), max(timestamps)
        summary.first = first if summary.first is None else min(first, summary.first)
        summary.last = last if summary.last is None else max(last, summary.last)
