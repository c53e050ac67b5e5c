"""Asks for one ingestion run per file that was dropped into the inbox.

The file itself says what is still to be done: as long as it lies in the inbox it has not been ingested to the
end. So nothing is lost when a run or this sensor dies; the cursor only remembers since when a file has been quiet.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DefaultSensorStatus,
    RunConfig,
    RunRecord,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from analytics_pipeline.events.inbox import SETTLED_AFTER, Watch
from analytics_pipeline.events.inbox_places import DroppedFile
from analytics_pipeline.orchestration.assets.inbox import (
    FILE_TAG,
    FINGERPRINT_TAG,
    INGESTION_JOB,
    INGESTION_OP,
    IngestFile,
    inbox_of,
)
from analytics_pipeline.orchestration.records import run_records
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.text import printable_line

_NAME = "event_inbox"
_INTERVAL_SECONDS = 30
_MOST_RUNS_PER_TICK = 20
# The oldest files are looked at, the rest waits until some of them are filed away: cursor and tick stay small.
_MOST_FILES_LOOKED_AT = 200
_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=1)
_MOST_DOUBLINGS = 10
_SHOWN_NAMES = 3
_BEHIND = f"not looked at before some of the {_MOST_FILES_LOOKED_AT} older ones are filed away"


def build_inbox_sensor() -> SensorDefinition:
    """Return the sensor ``event_inbox``, switched on."""

    @sensor(
        name=_NAME,
        job_name=INGESTION_JOB,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Starts a run for every file of events (.jsonl, .csv, .parquet, also .gz, .zst) in the inbox that nobody "
            "is writing any more, oldest first, and again, with growing pauses, for one whose run failed before the "
            "file was filed away."
        ),
    )
    def _event_inbox(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        now = datetime.now(UTC)
        inbox = inbox_of(timescale.settings)
        listing = inbox.scan()
        watch = Watch(json.loads(context.cursor) if context.cursor else {})
        settled, unsettled = watch.look(listing.files[:_MOST_FILES_LOOKED_AT], now)
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
        notes.add([file.name for file in listing.files[_MOST_FILES_LOOKED_AT:]], _BEHIND)
        later = len(due) - _MOST_RUNS_PER_TICK + max(len(listing.files) - _MOST_FILES_LOOKED_AT, 0)
        requests = due[:_MOST_RUNS_PER_TICK]
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
            shown = ", ".join(map(printable_line, names[:_SHOWN_NAMES]))
            rest = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
            self._parts.append(f"{what}: {shown}{rest}")

    def __str__(self) -> str:
        if not self._parts:
            return f"Nothing else is in {self._location}."
        return f"In {self._location}: {'; '.join(self._parts)}."


def _request(file: DroppedFile, attempt: int) -> RunRequest:
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
            "dagster/max_retries": "0",
        },
    )


def _runs_by_fingerprint(instance: DagsterInstance, files: Iterable[DroppedFile]) -> Mapping[str, list[RunRecord]]:
    found: defaultdict[str, list[RunRecord]] = defaultdict(list)
    fingerprints = [file.fingerprint for file in files]
    if fingerprints:
        for record in run_records(instance, RunsFilter(tags={FINGERPRINT_TAG: fingerprints})):
            found[record.dagster_run.tags[FINGERPRINT_TAG]].append(record)
    return found


def _is_too_soon(earlier: Sequence[RunRecord], now: datetime) -> bool:
    """Tell whether the pause after the last run is not over: a minute, doubled each time, at most an hour."""
    if not earlier:
        return False
    last = max(record.end_time or record.update_timestamp.timestamp() for record in earlier)
    pause = min(_FIRST_WAIT * (1 << min(len(earlier) - 1, _MOST_DOUBLINGS)), _LONGEST_WAIT)
    return now.timestamp() - last < pause.total_seconds()
