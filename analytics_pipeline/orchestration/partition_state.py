"""Which partitions are closed, as far as the Dagster instance knows.

A partition is closed when it was materialised and no run over it has failed since. That a run failed has to be
read from the runs themselves: with ranges bundled into one planned event (the setting that makes a year of hours
cost seconds) Dagster doesn't mark the partitions of a failed range, and a failed blocking check comes after the
materialisation it judges. Whether it was settled is told by the event log: what a later run materialised stands
behind the end of the failed one.

Unfinished and failed runs are read, and no others: those of the closing jobs, and those that the UI starts for
assets or backfills of them. They are few, so they are read in pages to the last one, however old: the thousands of
runs that succeed in a week hide none of them, and a failure stays open for as long as nothing has settled it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetKey,
    AssetRecordsFilter,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.partitions import partitions_for
from analytics_pipeline.orchestration.records import failure_events, materializations, run_records
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Cadence, Window, join_windows, midnight

# The jobs whose runs close partitions: ours, and the one in which the UI materialises assets and runs backfills.
_JOBS = (*CLOSING_JOBS, IMPLICIT_ASSET_JOB_NAME)
_AT_WORK = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_UNFINISHED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, *_AT_WORK]
_FAILED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
# A run that has not ended by then is dead: its process was killed. run_monitoring in dagster.yaml, where it
# works, calls it failed a little earlier.
_LONGEST_RUN = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class CoveringRun:
    """A run over partitions: the assets and the window it covers, how it went, when it was created.

    ``ended_at`` is when it ended, in seconds since 1970, as far as Dagster knows.
    """

    run_id: str
    job: str
    assets: frozenset[str]
    window: Window
    status: DagsterRunStatus
    created: datetime
    ended_at: float = 0.0

    @property
    def is_unfinished(self) -> bool:
        """Whether the run waits or works."""
        return self.status in _UNFINISHED

    @property
    def has_failed(self) -> bool:
        """Whether the run failed or was cancelled."""
        return self.status in _FAILED


class PartitionState:
    """What the instance knows of partitions, read once and looked at for the length of a tick."""

    def __init__(self, instance: DagsterInstance, settings: Settings, now: datetime) -> None:
        """Read the runs that tell; materialisations are read as they are asked for.

        ``now`` is when that is: by the database's clock where it decides what has ended.
        """
        self.now = now
        self._instance = instance
        self._settings = settings
        self._formats = {cadence: partitions_for(cadence, settings).fmt for cadence in Cadence}
        self._cadences = {name: CLOSING_JOBS[job] for job in CLOSING_JOBS for name in assets_of(job)}
        runs = self._read_runs()
        self._unfinished = [run for run in runs if run.is_unfinished]
        self._failures = [run for run in runs if run.has_failed]
        self._left: dict[str, list[CoveringRun]] = {}
        # What ended the failed runs; of a killed one it is looked up when it is asked for.
        self._ends: dict[str, int | None] = {**failure_events(instance)} if self._failures else {}

    def left_by_failures(self, asset: str) -> list[CoveringRun]:
        """Return the failed runs over the asset, each once for every stretch of partitions that it left.

        Those are the partitions that nothing has materialised since it ended.
        """
        if asset not in self._left:
            self._left[asset] = list(self._find_left(asset))
        return self._left[asset]

    def closed(self, asset: str, partitions: Iterable[Window]) -> dict[Window, int]:
        """Return which of the asset's partitions are closed, with the id of their latest materialisation."""
        left = join_windows(run.window for run in self.left_by_failures(asset))
        materialized = self.materialized(asset, partitions)
        return {window: id_ for window, id_ in materialized.items() if not _any_overlaps(left, window)}

    def is_covered(self, asset: str, window: Window) -> bool:
        """Tell whether an unfinished run is going to cover a part of the window."""
        return _any_overlaps((run.window for run in self._unfinished if asset in run.assets), window)

    def failed_attempts(self, asset: str, window: Window) -> int:
        """Return how many runs over the window have failed since the last one that succeeded.

        Of several stretches that failures have left in it the worst counts, each judged by its first partition.
        """
        left = [run.window for run in self.left_by_failures(asset) if run.window.overlaps(window)]
        starts = {max(stretch.start, window.start) for stretch in left}
        return max((self._attempts_since_success(asset, start) for start in starts), default=0)

    def latest_change(self, assets: Iterable[str], window: Window) -> str:
        """Return what names the last thing that happened to the window: another text after every run over it.

        It is made of the newest run that is unfinished or failed, and of the newest materialisation.
        """
        wanted = set(assets)
        ids: list[int] = []
        for asset in wanted:
            ids += self.materialized(asset, window.split(self._cadences[asset])).values()
        runs = (*self._unfinished, *self._failures)
        covering = [run for run in runs if run.assets & wanted and run.window.overlaps(window)]
        newest = max(covering, key=lambda run: run.created).run_id if covering else "none"
        return f"{newest}, {max(ids, default=0)}"

    def covers(self, run: DagsterRun) -> tuple[frozenset[str], Window] | None:
        """Return the closing assets and the window that a run is over, None if it is over none."""
        first = run.tags.get(ASSET_PARTITION_RANGE_START_TAG) or run.tags.get(PARTITION_NAME_TAG)
        last = run.tags.get(ASSET_PARTITION_RANGE_END_TAG) or first
        names = {key.to_user_string() for key in run.asset_selection or ()}
        if not names and run.job_name in CLOSING_JOBS:
            names = set(assets_of(run.job_name))
        names &= self._cadences.keys()
        if first is None or last is None or not names:
            return None
        cadence = self._cadences[next(iter(names))]
        try:
            return frozenset(names), Window(self._start(cadence, first), cadence.next(self._start(cadence, last)))
        except ValueError:
            # The partitions had another form or another first day when this run was made.
            return None

    def materialized(self, asset: str, partitions: Iterable[Window]) -> dict[Window, int]:
        """Return which of the asset's partitions were ever materialised, with the id of the latest time."""
        key_format = self._formats[self._cadences[asset]]
        keys = {f"{window.start:{key_format}}": window for window in partitions}
        latest: Mapping[str, int] = self._instance.event_log_storage.get_latest_storage_id_by_partition(
            AssetKey(asset), DagsterEventType.ASSET_MATERIALIZATION, partitions=set(keys)
        )
        return {keys[key]: storage_id for key, storage_id in latest.items() if key in keys}

    def _read_runs(self) -> list[CoveringRun]:
        found: dict[str, CoveringRun] = {}
        for job in _JOBS:
            for record in run_records(self._instance, RunsFilter(job_name=job, statuses=[*_UNFINISHED, *_FAILED])):
                run, status = record.dagster_run, _status(record)
                covered = self.covers(run)
                if covered is not None:
                    ended_at = record.end_time or record.update_timestamp.timestamp()
                    found[run.run_id] = CoveringRun(
                        run.run_id, run.job_name, *covered, status, record.create_timestamp, ended_at
                    )
        return list(found.values())

    def _find_left(self, asset: str) -> Iterator[CoveringRun]:
        # Of several failures over a partition it is the newest that tells whether it was settled.
        failed = failed_ranges([run for run in self._failures if asset in run.assets])
        cadence, first = self._cadences[asset], midnight(self._settings.start)
        partitions = {p for window, _ in failed for p in window.split(cadence) if p.start >= first}
        latest = self.materialized(asset, partitions) if partitions else {}
        for window, run in failed:
            end = self._end(run, asset)
            left = (p for p in window.split(cadence) if p in partitions and latest.get(p, 0) <= end)
            for stretch in join_windows(left):
                yield replace(run, window=stretch)

    def _attempts_since_success(self, asset: str, start: datetime) -> int:
        """Return how many runs over the partition that begins there have failed since the last that succeeded."""
        over = [run for run in self._failures if asset in run.assets and run.window.start <= start < run.window.end]
        without_success = {run.run_id for run in (*over, *self._unfinished)}
        key = f"{start:{self._formats[self._cadences[asset]]}}"
        wanted = AssetRecordsFilter(AssetKey(asset), asset_partitions=[key])
        records = materializations(self._instance, wanted)
        success = next((record.storage_id for record in records if record.run_id not in without_success), 0)
        # Without events a run ends with what was materialised before it.
        return sum(self._end(run, asset) >= success for run in over)

    def _end(self, run: CoveringRun, asset: str) -> int:
        """Return the position in the event log behind which nothing of a failed run stands."""
        if run.run_id not in self._ends:
            self._ends[run.run_id] = self._last_event(run.run_id)
        end = self._ends[run.run_id]
        if end is not None:
            return end
        # Its events were deleted: it may have been the last to materialise what there was when it ended.
        before = AssetRecordsFilter(AssetKey(asset), before_timestamp=run.ended_at)
        newest = next(materializations(self._instance, before), None)
        return newest.storage_id if newest is not None else 0

    def _last_event(self, run_id: str) -> int | None:
        """Return the position of the last event of a run, None if its events were deleted."""
        found = self._instance.get_records_for_run(run_id, limit=1, ascending=False).records
        return found[0].storage_id if found else None

    def _start(self, cadence: Cadence, key: str) -> datetime:
        return datetime.strptime(f"{key} +0000", f"{self._formats[cadence]} %z")


def failed_ranges(runs: list[CoveringRun]) -> list[tuple[Window, CoveringRun]]:
    """Return what failed runs covered and no later run has closed, newest failure first, nothing twice."""
    found: list[tuple[Window, CoveringRun]] = []
    settled: list[Window] = []
    for run in sorted(runs, key=lambda r: r.created, reverse=True):
        if run.has_failed:
            found += [(window, run) for window in _without([run.window], settled)]
        if run.has_failed or run.status is DagsterRunStatus.SUCCESS:
            settled.append(run.window)
    return found


def _without(windows: list[Window], others: list[Window]) -> list[Window]:
    for other in others:
        windows = [part for window in windows for part in _cut(window, other)]
    return windows


def _cut(window: Window, other: Window) -> Iterator[Window]:
    if not window.overlaps(other):
        yield window
        return
    if window.start < other.start:
        yield Window(window.start, other.start)
    if other.end < window.end:
        yield Window(other.end, window.end)


def _any_overlaps(windows: Iterable[Window], window: Window) -> bool:
    return any(other.overlaps(window) for other in windows)


def _status(record: RunRecord) -> DagsterRunStatus:
    """Return a run's status; one that began long ago and has not ended is dead."""
    status = record.dagster_run.status
    began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
    is_dead = status in _AT_WORK and datetime.now(UTC) - began > _LONGEST_RUN
    return DagsterRunStatus.FAILURE if is_dead else status
