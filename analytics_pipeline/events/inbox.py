"""What happens to a file that is dropped into the inbox: it is ingested once it is whole, then filed away.

Everything may be repeated: a process killed before the file is filed away leaves it in the inbox, it is
ingested again, and its events are recognised by id.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.inbox_places import INBOX_PREFIX, DroppedFile, Inbox
from analytics_pipeline.events.ingest import IngestSummary, Progress, ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.folders import FolderError, temporary_folder, writing_to_temporary
from analytics_pipeline.intake.rejects import REJECTS_KEPT
from analytics_pipeline.timescale.clock import ClockError
from analytics_pipeline.timescale.connection import Connection

# A file is whole when nothing about it has changed for this long, between two looks at least.
SETTLED_AFTER = timedelta(seconds=10)
REJECTS_ENDING = ".rejects.jsonl"
REASON_ENDING = ".reason.txt"

DONE = "done"
FAILED = "failed"


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

    def look(self, files: list[DroppedFile], now: datetime) -> tuple[list[DroppedFile], list[DroppedFile]]:
        """Return what is whole and what has yet to settle, and remember this look.

        A writer changes size or time of a file with every write. So a file is taken when both are what they
        were at an earlier look, at least ``SETTLED_AFTER`` ago by our clock, and its time is that old too: copying
        tools preallocate or pause, and the writer's clock may differ from ours.
        """
        patience = SETTLED_AFTER.total_seconds()
        instant = now.timestamp()
        self.since = {file.fingerprint: self.since.get(file.fingerprint, instant) for file in files}
        settled: list[DroppedFile] = []
        unsettled: list[DroppedFile] = []
        for file in files:
            quiet = instant - self.since[file.fingerprint]
            age = instant - file.modified_at
            is_settled = quiet >= patience and not 0 <= age < patience
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
    the database, ``ClockError`` and ``FolderError`` are the caller's: then the file stays, too.
    """
    found = inbox.find(name)
    summary = IngestSummary()
    if found is None:
        return InboxResult(name, Outcome.GONE, summary)
    if version is not None and found.version != version:
        return InboxResult(name, Outcome.CHANGED, summary)
    with temporary_folder(INBOX_PREFIX) as folder:
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
        except (ClockError, FolderError):
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
