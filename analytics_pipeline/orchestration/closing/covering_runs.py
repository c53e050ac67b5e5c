"""Dagster's runs over partitions: which assets and which window a run covers, and how it went.

Runs are read by status, in pages to the last one: those of the closing jobs, and those that the UI starts for assets or
backfills of them. The thousands that succeed in a week hide none of those that wait, work or have failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.keys import asset_name
from analytics_pipeline.orchestration.partition_definitions import partition_keys, partition_start, partitions_for
from analytics_pipeline.orchestration.runs.paged_records import run_records
from analytics_pipeline.orchestration.runs.run_owner import has_died_in_command, never_began
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Window

# The jobs whose runs close partitions: ours, and the one in which the UI materialises assets and runs backfills.
CLOSING_RUNS = (*CLOSING_JOBS, "__ASSET_JOB")
_AT_WORK = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
UNFINISHED = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, *_AT_WORK]
FAILED = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
# A run that has not ended by then is dead: its process was killed. run_monitoring in dagster.yaml, where it
# works, calls it failed a little earlier.
LONGEST_RUN = timedelta(hours=3)


@dataclass(frozen=True, slots=True)
class CoveringRun:
    """A run over partitions: the assets and the window it covers, how it went, when it was created.

    ``ended_at`` is when it ended, in seconds since 1970, as far as Dagster knows. ``is_attempt``: that it failed says
    something against another attempt, which the death of a command's process does not.
    """

    run_id: str
    job: str
    assets: frozenset[str]
    window: Window
    status: DagsterRunStatus
    created: datetime
    ended_at: float = 0.0
    is_attempt: bool = True

    @property
    def is_unfinished(self) -> bool:
        """Whether the run waits or works."""
        return self.status in UNFINISHED

    @property
    def has_failed(self) -> bool:
        """Whether the run failed or was cancelled."""
        return self.status in FAILED


def covering_runs(
    instance: DagsterInstance, settings: Settings, statuses: Sequence[DagsterRunStatus]
) -> list[CoveringRun]:
    """Return the runs over partitions that Dagster has in one of these statuses, however old they are."""
    found: dict[str, CoveringRun] = {}
    for job in CLOSING_RUNS:
        for record in run_records(instance, RunsFilter(job_name=job, statuses=list(statuses))):
            run = record.dagster_run
            covered = covered_by(run, settings)
            if covered is not None and not never_began(record):
                ended_at = record.end_time or record.update_timestamp.timestamp()
                found[run.run_id] = CoveringRun(
                    run.run_id,
                    run.job_name,
                    *covered,
                    _status(record),
                    record.create_timestamp,
                    ended_at,
                    is_attempt=not has_died_in_command(run),
                )
    return list(found.values())


def covered_by(run: DagsterRun, settings: Settings) -> tuple[frozenset[str], Window] | None:
    """Return the closing assets and the window that a run is over, None if it is over none."""
    keys = partition_keys(run.tags)
    granularities = {name: granularity for job, granularity in CLOSING_JOBS.items() for name in assets_of(job)}
    names = {name for key in run.asset_selection or () if (name := asset_name(key, settings)) is not None}
    if not run.asset_selection and run.job_name in CLOSING_JOBS:
        names = set(assets_of(run.job_name))
    names &= granularities.keys()
    if keys is None or not names:
        return None
    granularity = granularities[next(iter(names))]
    partitions = partitions_for(granularity, settings)
    try:
        start, last = (partition_start(partitions, key) for key in keys)
        return frozenset(names), Window(start, granularity.next(last))
    except ValueError:
        # No such partitions: they had another form when this run was made, or it was refused.
        return None


def _status(record: RunRecord) -> DagsterRunStatus:
    """Return a run's status; one that began long ago and has not ended is dead."""
    status = record.dagster_run.status
    began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
    is_dead = status in _AT_WORK and datetime.now(UTC) - began > LONGEST_RUN
    return DagsterRunStatus.FAILURE if is_dead else status
