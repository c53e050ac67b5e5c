"""What the database records of the archive: which ranges it was proved to hold, and which are in the archive alone."""

from dataclasses import dataclass
from datetime import UTC, datetime

from analytics_pipeline.archive.delta_table import Archive, ArchiveError
from analytics_pipeline.archive.fingerprints import Fingerprint
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.expiry import ArchiveRecord, archive_record
from analytics_pipeline.timescale.policies import begin_archive
from analytics_pipeline.windows import Window, without_windows

ALL_TIME = Window(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class ArchivedRange:
    """A half-open range of events in the archive.

    ``proved`` was read back of it at ``version`` of the table (None: nothing was yet), ``writing`` is what a process
    was writing last, if it has not proved it. ``is_whole``: the database holds all that the archive holds of it.
    """

    window: Window
    proved: Fingerprint | None
    version: int | None
    proven_at: datetime | None
    writing: Fingerprint | None
    is_whole: bool
    dropped_at: datetime | None
    late_rows: int
    late_at: datetime | None


def read_ranges(connection: Connection, window: Window = ALL_TIME) -> list[ArchivedRange]:
    """Return what is recorded of the ranges that overlap a window, in order."""
    parameters = {"start": window.start, "end": window.end}
    return [
        ArchivedRange(
            window=Window(start, end),
            proved=None if rows is None else Fingerprint(tuple(columns), rows, int(checksum)),
            version=version,
            proven_at=proven_at,
            writing=None if w_rows is None else Fingerprint(tuple(w_columns), w_rows, int(w_checksum)),
            is_whole=is_whole,
            dropped_at=dropped_at,
            late_rows=late_rows,
            late_at=late_at,
        )
        for (
            start, end, columns, rows, checksum, version, proven_at, w_columns, w_rows, w_checksum,
            is_whole, dropped_at, late_rows, late_at,
        ) in connection.execute(load_query("archive_ranges"), parameters)
    ]  # fmt: skip


def read_range(connection: Connection, window: Window) -> ArchivedRange | None:
    """Return what is recorded of this very range."""
    return next((found for found in read_ranges(connection, window) if found.window == window), None)


def ranges_of(connection: Connection, chunk: Window) -> list[Window]:
    """Return the ranges that a chunk is archived by: those recorded that it touches, and what none of them covers."""
    known = [found.window for found in read_ranges(connection, chunk)]
    return sorted([*known, *without_windows([chunk], known)])


def announce(connection: Connection, window: Window, expected: Fingerprint, *, is_whole: bool, late: int = 0) -> None:
    """Record what is about to be written of a range, ``late`` rows of it after their range was dropped.

    ``is_whole``: the database holds all that the archive will hold of it.
    """
    parameters = {**_parameters(window, expected), "is_whole": is_whole, "late": late}
    connection.execute(load_query("archive_announce"), parameters)


def record_proof(connection: Connection, window: Window, found: Fingerprint, version: int) -> None:
    """Record what was read back of an announced range; autocommit, or in the caller's transaction."""
    connection.execute(load_query("archive_proved"), {**_parameters(window, found), "version": version})


def open_recorded(connection: Connection, archive: Archive, columns: list[str]) -> ArchiveRecord:
    """Make sure that this is the archive of the database, which begins with it if it has none yet.

    Raises ``ArchiveError`` when the place holds another table, or none where there was one.
    """
    begin_archive(connection, archive.location)
    record = _record(connection)
    if record.table_id is None:
        archive.create(columns)
        if archive.version > 0:
            raise ArchiveError(
                f"{archive.location} holds events already, and not by this database: name an empty place in "
                "ANALYTICS_ARCHIVE."
            )
        connection.execute(
            "UPDATE analytics_archive SET table_id = %s, location = %s", [archive.table_id, archive.location]
        )
        return _record(connection)
    require_recorded(archive, record)
    if record.location != archive.location:
        connection.execute("UPDATE analytics_archive SET location = %s", [archive.location])
    return record


def require_recorded(archive: Archive, record: ArchiveRecord) -> None:
    """Raise ``ArchiveError`` unless this is the table that the database knows; it may have been moved."""
    if record.table_id is None or not archive.exists():
        raise ArchiveError(
            f"There is no archive at {archive.location}; that of this database was at {record.location} last. Set "
            "ANALYTICS_ARCHIVE to where it is, or bring its files back."
        )
    if archive.table_id != record.table_id:
        raise ArchiveError(
            f"{archive.location} is the archive of another database: the one of this database has the table id "
            f"{record.table_id}, and was at {record.location} last. Set ANALYTICS_ARCHIVE to where it is."
        )


def _record(connection: Connection) -> ArchiveRecord:
    record = archive_record(connection)
    if record is None:
        raise LookupError("the archive was just begun")
    return record


def _parameters(window: Window, fingerprint: Fingerprint) -> dict[str, object]:
    return {
        "start": window.start,
        "end": window.end,
        "columns": list(fingerprint.columns),
        "rows": fingerprint.rows,
        "checksum": fingerprint.checksum,
    }
