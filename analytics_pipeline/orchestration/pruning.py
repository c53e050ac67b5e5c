"""Pruning Dagster's storage without un-materialising a partition: as a command, and each week as an asset.

What runs over partitions have left that are closed now goes when it is older than ``PRUNE_AFTER``, as ticks do by
``dagster.yaml``. The newest materialisation of each partition stays with its run, so that the UI and closing see every
closed partition as before. Runs over anything open stay as they are, failed ones above all, and so do those of other
jobs: their sensors go by the keys of runs, and an instance may be shared with other code locations.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    Failure,
    MaterializeResult,
    RunsFilter,
)
from dagster_postgres import PostgresEventLogStorage

from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.dagster_pruning import Pruning, open_pruning
from analytics_pipeline.orchestration.closing.covering_runs import CLOSING_RUNS, FAILED, covered_by
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.keys import asset_name, assets_named
from analytics_pipeline.orchestration.runs.dagster_storage import open_instance
from analytics_pipeline.orchestration.runs.paged_records import run_records
from analytics_pipeline.orchestration.shared import OPERATIONS, pipeline_asset, pipeline_job, pipeline_schedule
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import fetch_row

ASSET = "pruned_dagster_storage"
JOB = "dagster_pruning"
PRUNE_AFTER = "90 days"
_ENDED = [DagsterRunStatus.SUCCESS, *FAILED]


def defs(settings: Settings) -> Definitions:
    """Return the asset that prunes, its job and its schedule."""
    job = pipeline_job(JOB, assets_named([ASSET], settings), f"Prunes what is older than {PRUNE_AFTER} from Dagster.")
    schedule = pipeline_schedule(JOB, JOB, "40 5 * * 0", "Runs its job each Sunday at 05:40 UTC.")
    return Definitions(assets=[_build_asset(settings)], jobs=[job], schedules=[schedule])


def _build_asset(settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        ASSET,
        "What runs over partitions that are closed have left in Dagster. Materialising it deletes events, results of "
        f"checks and runs that are older than {PRUNE_AFTER}: all but the newest materialisation of each partition, "
        "with its run, and the newest result of each check.",
        settings,
        group=OPERATIONS,
        kinds={"postgres"},
        # It may work for long, and would hold a place of those that close partitions.
        pool=None,
    )
    def _pruned_dagster_storage(context: AssetExecutionContext) -> MaterializeResult:  # type: ignore[type-arg]
        started = time.monotonic()
        try:
            with pruning(context.instance, settings, PRUNE_AFTER) as found:
                before = found.prunable()
                found.delete()
                found.vacuum(full=False)
                after = found.prunable()
        except AnalyticsError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return MaterializeResult(
            metadata={
                "events deleted": before.events,
                "results of checks deleted": before.checks,
                "runs deleted": before.runs,
                "events": after.all_events,
                "results of checks": after.all_checks,
                "runs": after.all_runs,
                "before (bytes)": before.bytes,
                "storage (bytes)": after.bytes,
                "seconds": round(time.monotonic() - started, 1),
            }
        )

    return _pruned_dagster_storage


@contextmanager
def pruning_with_instance(settings: Settings, older_than: str) -> Iterator[Pruning]:
    """Do as ``pruning`` does, with the instance of ``DAGSTER_HOME``."""
    with open_instance(settings) as instance, pruning(instance, settings, older_than) as found:
        yield found


@contextmanager
def pruning(instance: DagsterInstance, settings: Settings, older_than: str) -> Iterator[Pruning]:
    """List what may go from the instance's storage, of runs that ended longer ago than an age like '90 days'.

    Nothing is deleted yet. Raises ``AnalyticsError`` when the storage is not in PostgreSQL.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEventLogStorage):
        raise AnalyticsError("Dagster's storage is not in PostgreSQL: set DAGSTER_POSTGRES_URL, or DAGSTER_HOME.")
    with connect(settings, autocommit=True) as connection:
        now = database_now(connection)
        (ended_before,) = fetch_row(connection, "SELECT %s::timestamptz - %s::interval", [now, older_than])
        settled = _settled_runs(PartitionState(instance, connection, settings, now), ended_before)
    with open_pruning(storage.postgres_url, settled) as found:
        yield found


def _settled_runs(state: PartitionState, ended_before: datetime) -> list[str]:
    """Return the runs over partitions that ended before an instant, and all of whose partitions are closed."""
    names = set(partitioned_assets())
    settled = []
    for job in CLOSING_RUNS:
        for record in run_records(state.instance, RunsFilter(job_name=job, statuses=_ENDED)):
            run, covered = record.dagster_run, covered_by(record.dagster_run, state.settings)
            ended_at = record.end_time or record.update_timestamp.timestamp()
            if covered is None or ended_at >= ended_before.timestamp():
                continue
            # The UI may have been asked for assets of others in the same run.
            selected = {asset_name(key, state.settings) for key in run.asset_selection or ()}
            assets, window = covered
            if selected <= names and all(state.is_closed(asset, window) for asset in assets):
                settled.append(run.run_id)
    return settled
