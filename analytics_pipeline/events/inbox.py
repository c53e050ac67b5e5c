"""The inbox, and what happens to a file that is dropped there: it is ingested once it is whole, then filed away.

Only files directly in the inbox count: ``done/`` and ``failed/`` are its own, other folders somebody else's.

Everything may be repeated: a process killed before the file is filed away leaves it in the inbox, it is
ingested again, and its events are recognised by id.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from pathlib import Path

from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.ingest import IngestSummary, Progress, ingest
from analytics_pipeline.events.sources import Source, format_of, split_name
from analytics_pipeline.folders import FolderError, temporary_folder, writing_to_temporary
from analytics_pipeline.intake.rejects import REJECTS_KEPT
from analytics_pipeline.store import COPIES_PREFIX, STORE_ERRORS, Store, StoredFile, open_store, reason_of
from analytics_pipeline.text import without_credentials
from analytics_pipeline.timescale.clock import ClockError
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.waiting import LockTimeoutError

# A file is whole when nothing about it has changed for this long, between two polls at least.
SETTLED_AFTER = timedelta(seconds=10)
REJECTS_ENDING = ".rejects.jsonl"
REASON_ENDING = ".reason.txt"

DONE = "done"
FAILED = "failed"
_UNFINISHED = re.compile(r"^\.|\.(partial|part|tmp)$|\.rejects", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Listing:
    """What an inbox holds: files to take, oldest first, and names that are left alone because of their ending."""

    files: list[StoredFile]
    foreign: list[str]


@dataclass(frozen=True, slots=True)
class Inbox:
    """A store where files are dropped."""

    store: Store

    @property
    def location(self) -> str:
        """Path or URI, without credentials."""
        return self.store.location

    def scan(self) -> Listing:
        """List the inbox. Raises ``AnalyticsError`` when it can't be listed."""
        with _listing(self.location):
            return _sort(self.store.files())

    def find(self, name: str) -> StoredFile | None:
        """Return a file of the inbox as it is now, None if there is none of that name."""
        with _listing(self.location):
            return self.store.find(require_plain_name(name))

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        """Give the path of the file, or of a copy of it, for the time of a ``with``."""
        return self.store.local_copy(require_plain_name(name))

    def file_away(self, file: StoredFile, folder: str, beside: Mapping[str, Path]) -> str | None:
        """Move the file to a subfolder, with files beside it whose names are its own plus an ending.

        Nothing there is overwritten: a taken name gets a number (``name~2.jsonl``). Returns where the file is
        now, or None when it is no longer the given version: then it stays.
        """
        return self.store.move(file, folder, free_names(require_plain_name(file.name)), beside)


def open_inbox(root: str, *, create: bool = False) -> Inbox:
    """Return the inbox at a path or fsspec URI; a local folder is made if ``create`` says so.

    Raises ``AnalyticsError`` for a URI nothing here can open.
    """
    try:
        return Inbox(open_store(root, create=create))
    except STORE_ERRORS as error:
        raise AnalyticsError(
            f"Can't open the inbox {without_credentials(root)}: {without_credentials(str(error))}. "
            "Check ANALYTICS_INBOX."
        ) from error


@dataclass(frozen=True, slots=True)
class _InboxSource(Source):
    """A file of the inbox: rejects name it as its sender does, wherever the copy that is read lies."""

    origin: str = ""

    @property
    def name(self) -> str:
        return self.origin


class Outcome(StrEnum):
    """What became of a file."""

    DONE = "done"
    FAILED = "failed"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class InboxResult:
    """The end of one file's ingestion. ``location`` and ``rejects`` are where file and rejects are now."""

    name: str
    outcome: Outcome
    summary: IngestSummary
    location: str | None = None
    rejects: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class Watch:
    """Files seen, by fingerprint, with the moment (seconds since 1970) from which nothing about them changed."""

    since: dict[str, float] = field(default_factory=dict)

    def poll(self, files: list[StoredFile], now: datetime) -> tuple[list[StoredFile], list[StoredFile]]:
        """Return what is whole and what has yet to settle, and remember this poll.

        A writer changes size or time of a file with every write. So a file is taken when both are what they
        were at an earlier poll, at least ``SETTLED_AFTER`` ago by our clock, and its time is that old too: copying
        tools preallocate or pause, and the writer's clock may differ from ours.
        """
        settling = SETTLED_AFTER.total_seconds()
        instant = now.timestamp()
        self.since = {file.fingerprint: self.since.get(file.fingerprint, instant) for file in files}
        settled: list[StoredFile] = []
        unsettled: list[StoredFile] = []
        for file in files:
            quiet = instant - self.since[file.fingerprint]
            age = instant - file.modified_at
            is_settled = quiet >= settling and not 0 <= age < settling
            (settled if is_settled else unsettled).append(file)
        return settled, unsettled


def ingest_from_inbox(
    inbox: Inbox,
    name: str,
    connection: Connection,
    *,
    version: str | None = None,
    on_conflict: OnConflict = OnConflict.REJECT,
    rejects_kept: int = REJECTS_KEPT,
    progress: Callable[[Progress], None] = lambda _: None,
) -> InboxResult:
    """Ingest one file of the inbox and file it away.

    It goes to ``done`` when at least one record was taken, or when it holds none; to ``failed`` when it can't be
    read as a whole (what could be read before the damage is in) or when every record was rejected. Rejects go
    with it. A file that isn't in ``version`` any more, or changes while it is read, stays in the inbox. Errors of
    the database, a lock that was waited for too long, ``ClockError`` and ``FolderError`` are the caller's: then the
    file stays, too.
    """
    found = inbox.find(name)
    summary = IngestSummary()
    if found is None:
        return InboxResult(name, Outcome.GONE, summary)
    if version is not None and found.version != version:
        return InboxResult(name, Outcome.CHANGED, summary)
    with temporary_folder(COPIES_PREFIX) as folder:
        rejects_path = folder / "rejects.jsonl"
        latest = [summary]

        def note(made: Progress) -> None:
            latest[0] = made.summary
            progress(made)

        reason = None
        try:
            with inbox.local_copy(name) as path:
                source = Source.of(path)
                named = _InboxSource(source.path, source.format, origin=f"{inbox.location}/{name}")
                latest[0] = ingest(
                    [named],
                    connection,
                    rejects_path=rejects_path,
                    rejects_kept=rejects_kept,
                    on_conflict=on_conflict,
                    progress=note,
                )
        except (ClockError, DatabaseUnreachableError, FolderError, LockTimeoutError):
            # Nothing is wrong with the file.
            raise
        except AnalyticsError as error:
            if inbox.find(name) is None:
                return InboxResult(name, Outcome.GONE, latest[0])
            reason = str(error)
        summary = latest[0]
        if reason is None and summary.read and summary.rejected == summary.read:
            commonest = summary.reasons.most_common(1)[0][0]
            reason = f"every one of its {summary.read:,} records was rejected, most often: {commonest}"
        beside = {}
        if rejects_path.exists():
            beside[REJECTS_ENDING] = rejects_path
        if reason is not None:
            beside[REASON_ENDING] = folder / "reason.txt"
            with writing_to_temporary():
                beside[REASON_ENDING].write_text(reason + "\n", encoding="utf-8", errors="backslashreplace")
        filed = inbox.file_away(found, DONE if reason is None else FAILED, beside)
    if filed is None:
        return InboxResult(name, Outcome.CHANGED, summary)
    return InboxResult(
        name=name,
        outcome=Outcome.DONE if reason is None else Outcome.FAILED,
        summary=summary,
        location=filed,
        rejects=f"{filed}{REJECTS_ENDING}" if REJECTS_ENDING in beside else None,
        reason=reason,
    )


def free_names(name: str) -> Iterator[str]:
    """Yield the name, then the name with a number before its endings."""
    yield name
    stem, ending = split_name(name)
    for number in count(2):
        yield f"{stem}~{number}{ending}"


def require_plain_name(name: str) -> str:
    """Return the name; raise ``AnalyticsError`` for one that would lead out of the inbox."""
    if not name or name in {".", ".."} or "/" in name or "\0" in name or name != Path(name).name:
        raise AnalyticsError(f"{name!r} is not the name of a file in the inbox: give the name alone, without a path.")
    return name


@contextmanager
def _listing(location: str) -> Iterator[None]:
    try:
        yield
    except STORE_ERRORS as error:
        raise AnalyticsError(
            f"Can't list the inbox {location}: {reason_of(error)}. Create it, or fix ANALYTICS_INBOX."
        ) from error


def _sort(files: list[StoredFile]) -> Listing:
    dropped = [file for file in files if not _UNFINISHED.search(file.name)]
    known = [file for file in dropped if _is_known(file.name)]
    known.sort(key=lambda file: (file.modified_at, file.name))
    return Listing(known, sorted(_printable(file.name) for file in dropped if not _is_known(file.name)))


def _is_known(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return format_of(name) is not None


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
