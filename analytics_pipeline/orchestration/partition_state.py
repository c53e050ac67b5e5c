"""Which partitions are closed, as far as the Dagster instance knows.

A partition is closed when it was materialised and the last run that covered it succeeded. That a run
failed has to be read from the runs themselves: with ranges bundled into one planned event (the setting
that makes a year of hours cost seconds) Dagster doesn't mark the partitions of a failed range, and a
failed blocking check comes after the materialisation it judges.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.partitions import partitions_for
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Cadence, Window

_AT_WORK = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_UNFINISHED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, *_AT_WORK]
_FAILED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
# How far back runs are looked at for failures, and how many of them at most: a tick has to stay short.
_RUN_LOOK_BACK = timedelta(days=90)
_MOST_RUNS = 2000
# A run that has not ended by then is dead: its process was killed. run_monitoring in dagster.yaml, where it
# works, calls it failed a little earlier.
_LONGEST_RUN = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class CoveringRun:
    """A run over partitions: the assets and the window it covers, how it went, when it was created."""

    run_id: str
    job: str
    assets: frozenset[str]
    window: Window
    status: DagsterRunStatus
    created: datetime

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
        """Read the recent runs; materialisations are read as they are asked for."""
        self._instance = instance
        self._settings = settings
        self._formats = {cadence: partitions_for(cadence, settings).fmt for cadence in Cadence}
        self._cadences = {name: CLOSING_JOBS[job] for job in CLOSING_JOBS for name in assets_of(job)}
        self.runs = self._read_runs(now - _RUN_LOOK_BACK)
        # Few at any time, and asked about for every partition of a history.
        self._unfinished = [run for run in self.runs if run.is_unfinished]

    def closed(self, asset: str, partitions: Iterable[Window]) -> dict[Window, int]:
        """Return which of the asset's partitions are closed, with the id of their latest materialisation."""
        materialized = self.materialized(asset, partitions)
        failures = [run for run in self.runs if run.has_failed and asset in run.assets]
        return {
            window: storage_id
            for window, storage_id in materialized.items()
            if not (_any_over(failures, window) and self.failed_attempts(asset, window))
        }

    def is_covered(self, asset: str, window: Window) -> bool:
        """Tell whether an unfinished run is going to cover a part of the window."""
        return _any_over((run for run in self._unfinished if asset in run.assets), window)

    def failed_attempts(self, asset: str, window: Window) -> int:
        """Return how many runs over the window have failed since the last one that succeeded."""
        covering = [run for run in self.runs if asset in run.assets and run.window.overlaps(window)]
        successes = [run.created for run in covering if run.status is DagsterRunStatus.SUCCESS]
        return sum(run.has_failed and not any(done > run.created for done in successes) for run in covering)

    def latest_run(self, assets: Iterable[str], window: Window) -> str:
        """Return the id of the newest run over a part of the window, ``none`` if there was none recently."""
        wanted = set(assets)
        covering = [run for run in self.runs if run.assets & wanted and run.window.overlaps(window)]
        return max(covering, key=lambda run: run.created).run_id if covering else "none"

    def materialized(self, asset: str, partitions: Iterable[Window]) -> dict[Window, int]:
        """Return which of the asset's partitions were ever materialised, with the id of the latest time."""
        key_format = self._formats[self._cadences[asset]]
        keys = {f"{window.start:{key_format}}": window for window in partitions}
        latest: Mapping[str, int] = self._instance.event_log_storage.get_latest_storage_id_by_partition(
            AssetKey(asset), DagsterEventType.ASSET_MATERIALIZATION, partitions=set(keys)
        )
        return {keys[key]: storage_id for key, storage_id in latest.items() if key in keys}

    def _read_runs(self, since: datetime) -> list[CoveringRun]:
        found: dict[str, CoveringRun] = {}
        for wanted in (RunsFilter(statuses=_UNFINISHED), RunsFilter(created_after=since)):
            for record in self._instance.get_run_records(wanted, limit=_MOST_RUNS):
                covering = self._covering(record.dagster_run, record.create_timestamp, _status(record))
                if covering is not None:
                    found[covering.run_id] = covering
        return list(found.values())

    def _covering(self, run: DagsterRun, created: datetime, status: DagsterRunStatus) -> CoveringRun | None:
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
            window = Window(self._start(cadence, first), cadence.next(self._start(cadence, last)))
        except ValueError:
            # The partitions had another form or another first day when this run was made.
            return None
        return CoveringRun(run.run_id, run.job_name, frozenset(names), window, status, created)

    def _start(self, cadence: Cadence, key: str) -> datetime:
        return datetime.strptime(f"{key} +0000", f"{self._formats[cadence]} %z")


def _any_over(runs: Iterable[CoveringRun], window: Window) -> bool:
    return any(run.window.overlaps(window) for run in runs)


def _status(record: RunRecord) -> DagsterRunStatus:
    """Return a run's status; one that began long ago and has not ended is dead."""
    status = record.dagster_run.status
    began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
    is_dead = status in _AT_WORK and datetime.now(UTC) - began > _LONGEST_RUN
    return DagsterRunStatus.FAILURE if is_dead else status
