"""Files of events that are dropped into the inbox: the sensor that finds them, and the job that ingests one of them.

The file itself says what is still to be done: as long as it lies in the inbox it has not been ingested to the
end. So nothing is lost when a run or the sensor dies; the cursor only remembers since when a file has been quiet.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetObservation,
    Config,
    DagsterInstance,
    Failure,
    JobDefinition,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    RunConfig,
    RunRecord,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    job,
    op,
)
from pydantic import Field

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.inbox import (
    SETTLED_AFTER,
    Inbox,
    InboxResult,
    Outcome,
    Watch,
    ingest_from_inbox,
    open_inbox,
)
from analytics_pipeline.events.ingest import Progress
from analytics_pipeline.orchestration.ingestion.incoming_events import ingested_file, summary_metadata
from analytics_pipeline.orchestration.ingestion.progress_lines import now_and_then
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.orchestration.runs.paged_records import run_records
from analytics_pipeline.orchestration.sensors import pipeline_sensor
from analytics_pipeline.orchestration.shared import POOL
from analytics_pipeline.settings import Settings
from analytics_pipeline.store import StoredFile
from analytics_pipeline.text import printable, printable_line

INGESTION_JOB = "event_ingestion"
INGESTION_OP = "ingest_file"
# Tags of its runs: the file's name, and the fingerprint of the very file that was found.
FILE_TAG = "analytics/file"
FINGERPRINT_TAG = "analytics/file_fingerprint"
_NAME = "event_inbox"
_INTERVAL_SECONDS = 30
_MAX_RUNS_PER_TICK = 20
# The oldest files are examined, the rest waits until some of them are filed away: cursor and tick stay small.
_MAX_FILES_EXAMINED = 200
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_MAX_DOUBLINGS = 10
_MAX_SHOWN_NAMES = 3
_BEHIND = f"not examined before some of the {_MAX_FILES_EXAMINED} older ones are filed away"


class IngestFile(Config):
    """Which file of the inbox a run ingests."""

    name: str = Field(description="Name of the file in the inbox, without a path.")
    version: str = Field(
        default="",
        description="Leave the file alone if it is no longer this version; empty: take it as it is.",
    )


def build_inbox_job() -> JobDefinition:
    """Return the job ``event_ingestion``: one file of the inbox."""

    @op(
        name=INGESTION_OP,
        description="Ingests a file of the inbox and moves it to done/ or failed/; repeating it is harmless.",
        pool=POOL,
        out=Out(Nothing),
    )
    def _ingest_file(context: OpExecutionContext, config: IngestFile, timescale: Timescale) -> Output[None]:
        inbox = inbox_of(timescale.settings)
        with timescale.session() as connection:
            result = ingest_from_inbox(
                inbox,
                config.name,
                connection,
                version=config.version or None,
                on_conflict=OnConflict(timescale.settings.inbox_on_conflict),
                rejects_kept=timescale.settings.rejects_kept,
                progress=now_and_then(context.log.info, _progress),
            )
        metadata, name = _metadata(result), printable_line(result.name)
        if result.summary.read or result.summary.nul_bytes:
            context.log_event(ingested_file(name, metadata, timescale.settings))
            context.log_event(
                AssetObservation(
                    asset_key(EVENTS, timescale.settings), description=f"Ingested {name}", metadata=metadata
                )
            )
        match result.outcome:
            case Outcome.FAILED:
                raise Failure(
                    description=printable(f"{name} is in {result.location}: {result.reason}"),
                    metadata=metadata,
                    allow_retries=False,
                )
            case Outcome.CHANGED:
                context.log.warning(f"{name} has changed: it stays in the inbox and is taken as it is then.")
            case Outcome.GONE:
                context.log.warning(f"{name} is no longer in the inbox: another run or a person has moved it.")
            case Outcome.DONE:
                context.log.info(printable(f"{name} is in {result.location}."))
        return Output(None, metadata=metadata)

    @job(
        name=INGESTION_JOB,
        executor_def=owning_executor,
        description="Ingests one file of the inbox (ANALYTICS_INBOX); the sensor event_inbox starts it.",
    )
    def _event_ingestion() -> None:
        _ingest_file()

    return _event_ingestion


def inbox_of(settings: Settings) -> Inbox:
    """Return the inbox of the settings; the default folder is made when it is missing, a named one is not."""
    return open_inbox(settings.inbox_root, create=not settings.inbox)


def _progress(progress: Progress) -> str:
    summary = progress.summary
    return (
        f"{summary.read:,} records read, {summary.new:,} new, {summary.rejected:,} rejected, "
        f"{summary.rows_per_second:,.0f} rows/s"
    )


def _metadata(result: InboxResult) -> MetadataMap:
    metadata: MetadataMap = {
        "file": result.name,
        "outcome": result.outcome.value,
        **summary_metadata(result.summary),
    }
    if result.location is not None:
        metadata["location"] = MetadataValue.path(result.location)
    if result.rejects is not None:
        metadata["rejects"] = MetadataValue.path(result.rejects)
    if result.reason is not None:
        metadata["reason"] = result.reason
    return metadata


def build_inbox_sensor() -> SensorDefinition:
    """Return the sensor ``event_inbox``, switched on."""

    @pipeline_sensor(
        _NAME,
        _INTERVAL_SECONDS,
        "Starts a run for every file of events (.jsonl, .csv, .parquet, also .gz, .zst) in the inbox that nobody "
        "is writing any more, oldest first, and again, with growing pauses, for one whose run failed before the "
        "file was filed away.",
        job=INGESTION_JOB,
    )
    def _event_inbox(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        now = datetime.now(UTC)
        inbox = inbox_of(timescale.settings)
        listing = inbox.scan()
        watch = Watch(json.loads(context.cursor) if context.cursor else {})
        settled, unsettled = watch.poll(listing.files[:_MAX_FILES_EXAMINED], now)
        runs = _runs_by_fingerprint(context.instance, settled)
        due, running, waiting = [], [], []
        for file in settled:
            earlier = runs[file.fingerprint]
            if any(not record.dagster_run.is_finished for record in earlier):
                running.append(file.name)
            elif _is_too_soon(earlier, now):
                waiting.append(file.name)
            else:
                due.append(_request(file, len(earlier) + 1))
        notes = _Notes(inbox.location)
        quiet = f"{SETTLED_AFTER.total_seconds():.0f} s"
        notes.add([file.name for file in unsettled], f"still arriving (taken once unchanged for {quiet})")
        notes.add(running, "being ingested or queued")
        notes.add(waiting, "waiting for another attempt, because a run ended without filing them away")
        notes.add(listing.foreign, "left alone, because the ending is none of .jsonl, .csv, .parquet")
        notes.add([file.name for file in listing.files[_MAX_FILES_EXAMINED:]], _BEHIND)
        later = len(due) - _MAX_RUNS_PER_TICK + max(len(listing.files) - _MAX_FILES_EXAMINED, 0)
        requests = due[:_MAX_RUNS_PER_TICK]
        if requests:
            context.log.info(f"Runs asked for: {len(requests)}; files left for later ticks: {max(later, 0)}. {notes}")
        return SensorResult(
            run_requests=requests,
            skip_reason=None
            if requests
            else SkipReason(
                str(notes) if listing.files or listing.foreign else f"The inbox {inbox.location} is empty."
            ),
            cursor=json.dumps(watch.since),
        )

    return _event_inbox


class _Notes:
    """Says what lies in the inbox, for the tick history."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._parts: list[str] = []

    def add(self, names: Sequence[str], what: str) -> None:
        if names:
            shown = ", ".join(map(printable_line, names[:_MAX_SHOWN_NAMES]))
            rest = f" and {len(names) - _MAX_SHOWN_NAMES} more" if len(names) > _MAX_SHOWN_NAMES else ""
            self._parts.append(f"{what}: {shown}{rest}")

    def __str__(self) -> str:
        if not self._parts:
            return f"Nothing else is in {self._location}."
        return f"In {self._location}: {'; '.join(self._parts)}."


def _request(file: StoredFile, attempt: int) -> RunRequest:
    """Return the run for a file.

    Dagster never launches a run key twice, failed runs included. So the key says what was found (a file dropped
    again differs in time) and which attempt at it this is.
    """
    return RunRequest(
        run_key=f"{file.name}|{file.version}|attempt {attempt}",
        run_config=RunConfig(ops={INGESTION_OP: IngestFile(name=file.name, version=file.version)}),
        tags={
            FILE_TAG: file.name,
            FINGERPRINT_TAG: file.fingerprint,
            # A crashed run leaves its file in the inbox, where this sensor finds it again.
            tags.MAX_RETRIES: "0",
        },
    )


def _runs_by_fingerprint(instance: DagsterInstance, files: Iterable[StoredFile]) -> Mapping[str, list[RunRecord]]:
    found: defaultdict[str, list[RunRecord]] = defaultdict(list)
    fingerprints = [file.fingerprint for file in files]
    if fingerprints:
        for record in run_records(instance, RunsFilter(tags={FINGERPRINT_TAG: fingerprints})):
            found[record.dagster_run.tags[FINGERPRINT_TAG]].append(record)
    return found


def _is_too_soon(earlier: Sequence[RunRecord], now: datetime) -> bool:
    """Return whether the pause after the last run is not over: a minute, doubled each time, at most an hour."""
    if not earlier:
        return False
    last = max(record.end_time or record.update_timestamp.timestamp() for record in earlier)
    pause = min(_FIRST_WAIT * (1 << min(len(earlier) - 1, _MAX_DOUBLINGS)), _LONGEST_WAIT)
    return now.timestamp() - last < pause.total_seconds()
