"""Whether this database has an archive, and what was brought back from it: policies and the retention horizon go by it.

What is in the archive, and how it comes there, is the business of ``analytics_pipeline.archive``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window, join_windows


@dataclass(frozen=True, slots=True)
class ArchiveRecord:
    """What the database says of its archive: where it was last, and the id of its table (None: not made yet).

    Events before ``complete_from`` were gone when it was begun (None: none were).
    """

    location: str
    table_id: UUID | None
    begun_at: datetime
    complete_from: datetime | None


@dataclass(frozen=True, slots=True)
class Hold:
    """Whole months that were brought back, with the days about them (``events``); held until they are released.

    ``restored_at`` is None while some of their events are not back yet.
    """

    months: Window
    events: Window
    asked_at: datetime
    restored_at: datetime | None


def archive_record(connection: Connection) -> ArchiveRecord | None:
    """Return what is known of the archive of this database, None if it has none."""
    with connection.cursor(row_factory=class_row(ArchiveRecord)) as cursor:
        return cursor.execute("SELECT location, table_id, begun_at, complete_from FROM analytics_archive").fetchone()


def has_archive(connection: Connection) -> bool:
    """Return whether events are to be in an archive before they are dropped, and no policy of the engine drops them."""
    return fetch_row(connection, "SELECT EXISTS (SELECT FROM analytics_archive)") == (True,)


def read_holds(connection: Connection) -> list[Hold]:
    """Return what was brought back and not released, in order."""
    rows = connection.execute(load_query("archive_holds")).fetchall()
    return [
        Hold(Window(start, end), Window(first, last), asked_at, restored_at)
        for start, end, first, last, asked_at, restored_at in rows
    ]


def restored_windows(connection: Connection) -> list[Window]:
    """Return the stretches whose events are all there although they lie behind the retention horizon, in order."""
    return join_windows(hold.events for hold in read_holds(connection) if hold.restored_at is not None)


def within(granularity: Granularity, windows: Sequence[Window]) -> list[Window]:
    """Return of each window the whole buckets that it holds, if any."""
    bounds = ((granularity.ceil(window.start), granularity.floor(window.end)) for window in windows)
    return [Window(start, end) for start, end in bounds if start < end]
