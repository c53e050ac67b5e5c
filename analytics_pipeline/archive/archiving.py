"""Chunks of events into the archive, and out of the database once the archive is proved to hold them.

A range is written in one commit, read back, and recorded as proved. What is about to be written is recorded before, so
that a process killed at any point leaves nothing that the next one takes for something else: what it has written is
recognised and proved, what it has not is written. Right before a chunk is dropped its events are counted once more
under a lock that keeps writers out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import sql

from analytics_pipeline.ages import NEVER
from analytics_pipeline.archive.delta_table import Archive, ArchiveError, FileError, open_archive
from analytics_pipeline.archive.event_batches import event_columns, read_events
from analytics_pipeline.archive.fingerprints import (
    Fingerprint,
    archived_fingerprint,
    batch_checksum,
    stored_fingerprint,
)
from analytics_pipeline.archive.late_events import Late, keep_contradictions
from analytics_pipeline.archive.proved_ranges import (
    ArchivedRange,
    announce,
    open_recorded,
    ranges_of,
    read_range,
    record_proof,
)
from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, advisory_lock, one_state
from analytics_pipeline.timescale.expiry import archive_record
from analytics_pipeline.timescale.policies import policy_values
from analytics_pipeline.timescale.refresh import remember_horizon
from analytics_pipeline.timescale.waiting import WatchedConnection, change_briefly
from analytics_pipeline.windows import Window

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

# So long before they expire chunks are written: days in which the archive may be out of reach.
LEAD = timedelta(days=7)
LOCK = 7_261_942
_ATTEMPTS = 3

Say = Callable[[str], None]


class RangeError(ArchiveError):
    """Something is wrong with one range: the others can be gone on with."""


class ChangedMeanwhileError(RangeError):
    """Events have changed between being counted and being read."""


@dataclass(frozen=True, slots=True)
class DueChunk:
    """A chunk that has expired, or will within the lead: its quoted name, and the half-open range of its events."""

    name: str
    window: Window
    has_expired: bool
    is_held: bool


@dataclass(slots=True)
class ArchiveRun:
    """What a run has done: chunks that the archive holds now, those that were dropped, those that were left, and why.

    ``late`` events came in after theirs had been dropped. ``problems`` are ranges that could not be archived, a
    sentence each; ``why`` says why nothing was done at all, if so.
    """

    location: str | None = None
    archived: list[Window] = field(default_factory=list)
    dropped: list[Window] = field(default_factory=list)
    held: list[Window] = field(default_factory=list)
    changed: list[Window] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    events: int = 0
    late: int = 0
    seconds: float = 0.0
    why: str | None = None


def due_chunks(connection: Connection, retention: str, lead: timedelta = LEAD) -> list[DueChunk]:
    """Return the chunks that a retention of this age drops now, or within the lead; none for ``never``."""
    if retention == NEVER:
        return []
    rows = connection.execute(load_query("archive_due_chunks"), {"age": retention, "lead": lead}).fetchall()
    return [DueChunk(name, Window(start, end), *state) for name, start, end, *state in rows]


def archive_and_drop(connection: WatchedConnection, settings: Settings, say: Say = lambda _: None) -> ArchiveRun:
    """Write what is about to expire into the archive, and drop what has expired and is proved to be there.

    With ``ANALYTICS_ARCHIVE`` the database has an archive from the first run on. Without the setting nothing is done,
    and ``why`` says so. Autocommit connection. Safe to repeat after being killed. Raises ``ArchiveError`` when the
    archive can't be read or written: what was dropped before that is in it.
    """
    started = time.monotonic()
    record, retention = archive_record(connection), policy_values(connection).retention
    if not settings.archive:
        if record is None:
            return ArchiveRun(why="This database has no archive, and ANALYTICS_ARCHIVE names no place for one.")
        waiting = sum(chunk.has_expired for chunk in due_chunks(connection, retention))
        return ArchiveRun(
            location=record.location,
            why=f"Nothing is dropped: events of this database go to the archive at {record.location} before, and "
            f"ANALYTICS_ARCHIVE names no place here. {waiting} chunks have expired and wait.",
        )
    archive = open_archive(settings)
    run = ArchiveRun(location=archive.location)
    with advisory_lock(connection, LOCK, "archive"):
        open_recorded(connection, archive, list(event_columns(connection)))
        if retention == NEVER:
            run.why = "Nothing expires: this database keeps raw events for ever."
        for chunk in due_chunks(connection, retention):
            try:
                _archive_chunk(connection, archive, chunk, run, say)
            except RangeError as error:
                run.problems.append(str(error))
            except FileError as error:
                run.problems.append(f"{chunk.window} can't be compared with the archive. {error}")
    run.seconds = time.monotonic() - started
    return run


def _archive_chunk(connection: WatchedConnection, archive: Archive, chunk: DueChunk, run: ArchiveRun, say: Say) -> None:
    if chunk.is_held:
        run.held.append(chunk.window)
        return
    shown = {}
    for window in ranges_of(connection, chunk.window):
        shown[window], written, late = secure(connection, archive, window)
        run.events += written
        run.late += late
    run.archived.append(chunk.window)
    if not chunk.has_expired:
        return
    if change_briefly(connection, partial(_drop, connection, chunk, shown)):
        run.dropped.append(chunk.window)
        say(f"dropped {chunk.window}, {sum(found.rows for found in shown.values()):,} events")
    else:
        run.changed.append(chunk.window)
        say(f"left {chunk.window}: its events have changed since they were written; the next run writes them anew")


def secure(connection: Connection, archive: Archive, window: Window) -> tuple[Fingerprint, int, int]:
    """Make sure that the archive holds every event that the database holds of a range, and prove it.

    Returns what the database holds, how many events were written, and how many of them came late. Under the lock of
    the archive; autocommit connection. Raises ``ArchiveError``.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _secure(connection, archive, window)
        except ChangedMeanwhileError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _secure(connection: Connection, archive: Archive, window: Window) -> tuple[Fingerprint, int, int]:
    columns = list(event_columns(connection))
    stored = stored_fingerprint(connection, window, columns)
    known = read_range(connection, window)
    if known is not None and known.is_whole and known.writing is None and known.proved == stored:
        return stored, 0, 0
    if not stored.rows and known is not None and not known.is_whole and known.writing is None:
        # All of it is there, and nothing has come since.
        return stored, 0, 0
    archive.reload()
    archived = archived_fingerprint(archive, window, columns)
    known = _settle(connection, archive, known, archived)
    is_whole = known is None or known.is_whole
    if is_whole and archived == stored:
        announce(connection, window, stored, is_whole=True)
        record_proof(connection, window, stored, archive.version)
        return stored, 0, 0
    if is_whole and (not archived.rows or _is_known(archive, window, known, archived)):
        _replace(connection, archive, window, stored)
        return stored, stored.rows, 0
    new = _add(connection, archive, window, stored, archived, is_late=not is_whole)
    return stored, new, 0 if is_whole else new


def _settle(
    connection: Connection, archive: Archive, known: ArchivedRange | None, archived: Fingerprint
) -> ArchivedRange | None:
    """Prove what a process has written that was killed before it could."""
    if known is None or known.writing is None:
        return known
    window, writing = known.window, known.writing
    if writing.columns != archived.columns:
        archived = archived_fingerprint(archive, window, writing.columns)
    if archived == writing:
        record_proof(connection, window, writing, archive.version)
        return read_range(connection, window)
    return known


def _is_known(archive: Archive, window: Window, known: ArchivedRange | None, archived: Fingerprint) -> bool:
    """Return whether what the archive holds of a range is what this database has put there, and nothing beside it."""
    if known is None or known.proved is None:
        return False
    extra = [name for name in archive.columns if name not in archived.columns]
    if extra and has_values(archive, window, extra):
        raise RangeError(
            f"The archive holds columns of {window} that this database lacks ({', '.join(extra)}), and that writing "
            "its events anew would lose: update the program, or leave the range as it is."
        )
    if known.proved.columns == archived.columns:
        return known.proved == archived
    return known.proved == archived_fingerprint(archive, window, known.proved.columns)


def has_values(archive: Archive, window: Window, columns: Sequence[str]) -> bool:
    """Return whether the archive holds anything in some of these columns within a window."""
    batches = archive.batches(window, columns)
    return any(column.null_count < batch.num_rows for batch in batches for column in batch.columns)


def rewrite(
    connection: Connection, archive: Archive, window: Window, change: "Callable[[pa.RecordBatch], pa.RecordBatch]"
) -> int:
    """Put changed rows in the place of those of a recorded range, prove them, and return how many rows it has.

    ``change`` is given batches and returns them with other values, rows added or removed; it is called twice for each.
    Old files stay until the table is vacuumed. Under the lock of the archive (``LOCK``); autocommit connection. Raises
    ``ArchiveError`` when the range is not what it was proved to be, or changes on the way: then it stays as it is.
    """
    known = read_range(connection, window)
    if known is None or known.proved is None:
        raise ArchiveError(f"Nothing is proved to be in the archive of {window}.")
    archive.reload()
    archived = archived_fingerprint(archive, window, known.proved.columns)
    known = _settle(connection, archive, known, archived)
    if known is None or archived != known.proved:
        raise RangeError(f"The archive doesn't hold what it was proved to hold of {window}: run 'archive verify'.")
    after = Fingerprint(archived.columns)
    for batch in map(change, archive.batches(window)):
        after = after.plus(batch.num_rows, batch_checksum(batch.select(list(after.columns))))
    announce(connection, window, after, is_whole=known.is_whole)
    archive.replace(window, map(change, archive.batches(window)), _note(window, after))
    _prove(connection, archive, window, after)
    return after.rows


def _replace(connection: Connection, archive: Archive, window: Window, stored: Fingerprint) -> None:
    """Write a range as the database holds it, in the place of what the archive holds."""
    announce(connection, window, stored, is_whole=True)
    archive.replace(window, _counted_events(connection, window, stored), _note(window, stored))
    _prove(connection, archive, window, stored)


def _counted_events(connection: Connection, window: Window, expected: Fingerprint) -> "Iterator[pa.RecordBatch]":
    """Yield the events of a range, and raise at the end if they are not those that were counted."""
    found = Fingerprint(expected.columns)
    with one_state(connection):
        for batch in read_events(connection, window, expected.columns, expected.rows):
            found = found.plus(batch.num_rows, batch_checksum(batch))
            yield batch
    if found != expected:
        raise ChangedMeanwhileError(f"Events of {window} keep changing while they are written: repeat it later.")


def _add(
    connection: Connection,
    archive: Archive,
    window: Window,
    stored: Fingerprint,
    archived: Fingerprint,
    *,
    is_late: bool,
) -> int:
    """Add to a range what the archive lacks of what the database holds, and return how many events that are.

    An event that the archive holds otherwise stays there as it is, and the other one is kept as a contradiction.
    """
    batches = list(_counted_events(connection, window, stored))
    here = Late.of(batches)
    contradicted = here.remove_known(archive.batches(window, stored.columns))
    new = here.remaining()
    after = archived
    for batch in new:
        after = after.plus(batch.num_rows, batch_checksum(batch))
    rows = after.rows - archived.rows
    announce(connection, window, after, is_whole=False, late=rows if is_late else 0)
    keep_contradictions(connection, contradicted)
    if rows:
        archive.append(new, _note(window, after))
    _prove(connection, archive, window, after)
    return rows


def _prove(connection: Connection, archive: Archive, window: Window, expected: Fingerprint) -> None:
    """Read a range back and record that it is as it should be."""
    archive.reload()
    found = archived_fingerprint(archive, window, expected.columns)
    if found != expected:
        raise RangeError(
            f"The archive at {archive.location} doesn't read back what was written of {window}: {found.rows:,} events "
            f"instead of {expected.rows:,}, or others. Nothing was dropped. Does another database write there?"
        )
    record_proof(connection, window, found, archive.version)


def _drop(connection: Connection, chunk: DueChunk, shown: dict[Window, Fingerprint]) -> bool:
    """Drop a chunk if its ranges hold what was shown to be in the archive, and nothing else; return whether it was.

    That it has expired and is not held is asked once more, too.
    """
    with connection.transaction():
        # Readers go on; whoever wants to write waits, and finds the chunk gone or as it was.
        connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(sql.SQL(chunk.name)))
        now_due = due_chunks(connection, policy_values(connection).retention, timedelta(0))
        if not any(due.name == chunk.name and not due.is_held for due in now_due):
            return False
        for window, found in shown.items():
            if stored_fingerprint(connection, window, found.columns) != found:
                return False
        connection.execute(
            "SELECT drop_chunks(%s::regclass, older_than => %s::timestamptz, newer_than => %s::timestamptz)",
            [EVENTS, chunk.window.end, chunk.window.start],
        )
        connection.execute(load_query("archive_dropped"), {"starts": [window.start for window in shown]})
        remember_horizon(connection, chunk.window.end)
        details = {"start": chunk.window.start, "end": chunk.window.end, "rows": sum(f.rows for f in shown.values())}
        audit.record(connection, "archive.drop", EVENTS, details)
        return True


def _note(window: Window, expected: Fingerprint) -> dict[str, Any]:
    """Return what a commit says of itself: nothing that names anybody."""
    return {
        "range_start": window.start.isoformat(),
        "range_end": window.end.isoformat(),
        "rows": str(expected.rows),
        "checksum": str(expected.checksum),
    }
