"""What the archive is to hold, and whether it does: every range read again and compared with what was proved of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from analytics_pipeline.archive.archiving import due_chunks
from analytics_pipeline.archive.delta_table import ArchiveError, FileError, open_archive
from analytics_pipeline.archive.fingerprints import archived_fingerprint
from analytics_pipeline.archive.proved_ranges import ALL_TIME, read_ranges, require_recorded
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.expiry import Hold, archive_record, read_holds
from analytics_pipeline.timescale.policies import policy_values
from analytics_pipeline.windows import Window

Say = Callable[[str], None]


@dataclass(slots=True)
class Verification:
    """What was read: ranges, events, and in what the archive differs from what was proved, a sentence each.

    ``unreadable`` counts the ranges of which a file can't be read; they are among the differences. What lies in no
    range was not looked for then.
    """

    ranges: int = 0
    events: int = 0
    differences: list[str] = field(default_factory=list)
    unfinished: int = 0
    unreadable: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """How the archive stands by what the database records; ``version`` is that of the table itself, if it can be read.

    ``problem`` says why it can't. ``only_there`` counts the ranges of which the database lacks events; ``waiting`` the
    chunks that have expired and are still here, ``held`` those of them that may not go.
    """

    location: str | None
    setting: str | None
    begun_at: datetime | None
    complete_from: datetime | None
    version: int | None
    problem: str | None
    ranges: int
    only_there: int
    events: int
    first: datetime | None
    last: datetime | None
    late_events: int
    late_at: datetime | None
    waiting: int
    held: int
    retention: str
    holds: tuple[Hold, ...]


def archive_status(connection: Connection, settings: Settings) -> ArchiveStatus:
    """Return how the archive stands; the archive itself is asked for its version alone."""
    record, retention = archive_record(connection), policy_values(connection).retention
    ranges = [found for found in read_ranges(connection) if found.proved is not None]
    expired = due_chunks(connection, retention, timedelta(0))
    setting = open_archive(settings).location if settings.archive else None
    version, problem = None, None
    if record is not None and record.table_id is not None:
        try:
            archive = open_archive(settings)
            require_recorded(archive, record)
            version = archive.version
        except ArchiveError as error:
            problem = str(error)
    return ArchiveStatus(
        location=record.location if record else None,
        setting=setting,
        begun_at=record.begun_at if record else None,
        complete_from=record.complete_from if record else None,
        version=version,
        problem=problem,
        ranges=len(ranges),
        only_there=sum(not found.is_whole for found in ranges),
        events=sum(found.proved.rows for found in ranges if found.proved),
        first=ranges[0].window.start if ranges else None,
        last=ranges[-1].window.end if ranges else None,
        late_events=sum(found.late_rows for found in ranges),
        late_at=max((found.late_at for found in ranges if found.late_at), default=None),
        waiting=sum(not chunk.is_held for chunk in expired),
        held=sum(chunk.is_held for chunk in expired),
        retention=retention,
        holds=tuple(read_holds(connection)),
    )


def verify_archive(connection: Connection, settings: Settings, span: Window | None, say: Say) -> Verification:
    """Read the ranges that overlap a half-open span (None: all) and compare them with what was proved of them.

    Without a span, what lies in no range is found as well. A range that can't be read differs. Raises
    ``AnalyticsError`` without an archive, and ``ArchiveError`` when the table itself can't be read.
    """
    started = time.monotonic()
    record = archive_record(connection)
    if record is None:
        raise AnalyticsError("This database has no archive: there is nothing to verify (docs/archive.md).")
    archive = open_archive(settings)
    require_recorded(archive, record)
    result = Verification()

    def differs(text: str) -> None:
        result.differences.append(text)
        say(text)

    read = 0
    for found in read_ranges(connection, span or ALL_TIME):
        columns = archive.columns if found.proved is None else found.proved.columns
        try:
            held = archived_fingerprint(archive, found.window, columns)
        except FileError as error:
            result.unreadable += 1
            differs(f"{found.window} can't be read whole. {error}")
            continue
        read += held.rows
        if found.proved is None or (held != found.proved and held == found.writing):
            result.unfinished += 1
        elif held == found.proved:
            result.ranges += 1
            result.events += held.rows
        elif held.rows != found.proved.rows:
            differs(f"{found.window} holds {held.rows:,} events, {found.proved.rows:,} were proved")
        else:
            differs(f"{found.window} holds other values than were proved")
    if span is None and not result.unreadable:
        try:
            beside = sum(batch.num_rows for batch in archive.batches(columns=["event_id"])) - read
        except FileError as error:
            differs(f"A file in no range that this database has archived can't be read. {error}")
        else:
            if beside:
                differs(f"{beside:,} events lie in no range that this database has archived")
    result.seconds = time.monotonic() - started
    return result
