"""Events back out of the archive: whole months, which can then be closed again and are held until they are released.

Months, because a month that lacks a day would be closed wrong; with some days about them, because figures of a day need
the day before, and days and months of other time zones begin and end at other hours.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from analytics_pipeline.archive.archiving import LOCK, ChangedMeanwhileError, RangeError, has_values, secure
from analytics_pipeline.archive.delta_table import TIMESTAMP, Archive, ArchiveError, FileError, open_archive
from analytics_pipeline.archive.event_batches import event_columns, insert_events
from analytics_pipeline.archive.fingerprints import Fingerprint, batch_checksum, stored_fingerprint
from analytics_pipeline.archive.proved_ranges import ArchivedRange, read_range, read_ranges, require_recorded
from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.errors import AnalyticsError, RefusedError
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, advisory_lock
from analytics_pipeline.timescale.expiry import ArchiveRecord, Hold, archive_record, read_holds
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.windows import Granularity, Window

_DAYS_BEFORE, _DAYS_AFTER = timedelta(days=2), timedelta(days=1)
_ATTEMPTS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back: the months that are held and can be closed, and the events and ranges that were.

    ``left_columns`` are columns of the archive, with values there, that this database lacks: they stay in the archive.
    ``later`` are the months after them that begin behind the retention horizon, too (None: none do).
    """

    months: Window
    is_widened: bool
    events: int
    ranges: int
    left_columns: tuple[str, ...]
    later: Window | None
    seconds: float


def restore_months(connection: Connection, settings: Settings, span: Window, say: Say) -> Restored:
    """Bring the events of the months that a half-open span touches back, and hold them from retention.

    Repeating it after a kill goes on where it ended. Autocommit connection. Raises ``RefusedError`` where nothing of
    the months has expired, or something of them was gone before there was an archive; ``ArchiveError`` when the archive
    can't be read or is not what it was proved to be.
    """
    started = time.monotonic()
    months = span.widen(Granularity.MONTH)
    record = archive_record(connection)
    if record is None:
        raise AnalyticsError("This database has no archive: nothing can be brought back (docs/archive.md).")
    horizon = _require_restorable(connection, record, months)
    archive = open_archive(settings)
    events = Window(months.start - _DAYS_BEFORE, months.end + _DAYS_AFTER)
    count, ranges, left = 0, 0, set[str]()
    with advisory_lock(connection, LOCK, "archive"):
        require_recorded(archive, record)
        _hold(connection, months, events)
        for found in read_ranges(connection, events):
            if found.is_whole:
                continue
            try:
                rows, extra = _bring_back(connection, archive, found)
            except FileError as error:
                raise ArchiveError(f"{found.window} can't be brought back. {error}") from error
            say(f"brought back {found.window}, {rows:,} events")
            count, ranges, left = count + rows, ranges + 1, left | extra
        with connection.transaction():
            connection.execute(
                "UPDATE analytics_archive_holds SET restored_at = coalesce(restored_at, now()) "
                "WHERE hold_start = %s AND hold_end = %s",
                [months.start, months.end],
            )
            details = {"start": months.start, "end": months.end, "rows": count}
            audit.record(connection, "archive.restore", EVENTS, details)
    expired = Granularity.MONTH.ceil(horizon)
    return Restored(
        months=months,
        is_widened=months != span,
        events=count,
        ranges=ranges,
        left_columns=tuple(sorted(left)),
        later=Window(months.end, expired) if months.end < expired else None,
        seconds=time.monotonic() - started,
    )


def release_months(connection: Connection, span: Window | None) -> list[Hold]:
    """Let retention have what is held and overlaps a half-open span (None: all of it) again, and return it, in order.

    Autocommit connection. Raises ``AnalyticsError`` when nothing is held there.
    """
    with advisory_lock(connection, LOCK, "archive"), connection.transaction():
        released = [hold for hold in read_holds(connection) if span is None or hold.months.overlaps(span)]
        if not released:
            raise AnalyticsError(f"Nothing {f'of {span} ' if span else ''}is held: there is nothing to release.")
        for hold in released:
            connection.execute(
                "DELETE FROM analytics_archive_holds WHERE hold_start = %s AND hold_end = %s",
                [hold.months.start, hold.months.end],
            )
            details = {"start": hold.months.start, "end": hold.months.end}
            audit.record(connection, "archive.release", EVENTS, details)
    return released


def _require_restorable(connection: Connection, record: ArchiveRecord, months: Window) -> datetime:
    """Return the retention horizon; raise ``RefusedError`` unless the months can be brought back whole."""
    horizon = retention_horizon(connection)
    if horizon is None or months.start >= horizon:
        raise RefusedError(
            f"Nothing of {months} has expired{f' (the retention horizon is {horizon:%Y-%m-%d})' if horizon else ''}: "
            "its partitions can be closed as they are."
        )
    gone = record.complete_from
    if gone is not None and months.start < gone:
        first = Granularity.MONTH.ceil(gone)
        raise RefusedError(
            f"Events before {gone:%Y-%m-%d} were gone before this database had an archive, so {months.start:%Y-%m} "
            f"can't be brought back whole: start at {first:%Y-%m-%d} or later."
        )
    return horizon


def _hold(connection: Connection, months: Window, events: Window) -> None:
    parameters = {
        "start": months.start,
        "end": months.end,
        "events_start": events.start,
        "events_end": events.end,
    }
    connection.execute(load_query("archive_hold"), parameters)


def _bring_back(connection: Connection, archive: Archive, found: ArchivedRange) -> tuple[int, set[str]]:
    """Put all events of a range back; return how many, and columns with values that the database lacks."""
    for attempt in range(_ATTEMPTS):
        # What came late goes to the archive first, which settles what contradicts it.
        here, _, _ = secure(connection, archive, found.window)
        known = read_range(connection, found.window)
        if known is None or known.proved is None:
            raise ArchiveError(f"Nothing is proved to be in the archive of {found.window}: run 'archive verify'.")
        try:
            return _insert(connection, archive, known.window, known.proved, here)
        except ChangedMeanwhileError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _insert(
    connection: Connection, archive: Archive, window: Window, proved: Fingerprint, here: Fingerprint
) -> tuple[int, set[str]]:
    archive.reload()
    types = event_columns(connection)
    common = [name for name in proved.columns if name in types]
    extra = [name for name in archive.columns if name not in types]
    archived, wanted = Fingerprint(proved.columns), Fingerprint(tuple(common))
    with connection.transaction():
        if here.rows:
            # They are in the archive, too, or contradict it: what is there counts.
            connection.execute("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
            if stored_fingerprint(connection, window, here.columns) != here:
                raise _changed(window)
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE {time} >= %s AND {time} < %s").format(
                    sql.Identifier(EVENTS), time=sql.Identifier(TIMESTAMP)
                ),
                [window.start, window.end],
            )
        for batch in archive.batches(window, proved.columns):
            archived = archived.plus(batch.num_rows, batch_checksum(batch))
            part = batch.select(common)
            wanted = wanted.plus(part.num_rows, batch_checksum(part))
            insert_events(connection, part, types)
        if archived != proved:
            raise RangeError(
                f"The archive doesn't hold what it was proved to hold of {window}: {archived.rows:,} events instead of "
                f"{proved.rows:,}, or others. Nothing of it was brought back; run 'analytics-pipeline archive verify'."
            )
        if stored_fingerprint(connection, window, common) != wanted:
            raise _changed(window)
        connection.execute(load_query("archive_restored"), {"start": window.start})
    return wanted.rows, {name for name in extra if has_values(archive, window, [name])}


def _changed(window: Window) -> ChangedMeanwhileError:
    return ChangedMeanwhileError(f"Events of {window} keep coming in while they are brought back: repeat it later.")
