"""Marks in Dagster's record what the database has closed: after its storage was lost, or was left out of a restore.

``analytics_partitions`` alone says what is closed, so nothing is computed again without Dagster's own record. That
record is what its UI shows, and it is empty then: here a materialisation is reported for each closed partition that it
lacks, under the time of its proof and of no run.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime

from dagster import AssetKey, AssetMaterialization, DagsterEvent, DagsterEventType, DagsterInstance, EventLogEntry
from dagster._core.events import StepMaterializationData
from dagster._core.instance.utils import RUNLESS_JOB_NAME, RUNLESS_RUN_ID

from analytics_pipeline.database import connect
from analytics_pipeline.metrics.partitions import ClosedPartition, closed_partitions
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of, granularity_of
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.partition_definitions import partitions_for
from analytics_pipeline.orchestration.runs.dagster_storage import open_instance
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import midnight

# One by one, a year of hours takes minutes.
_BATCH = 1_000


def adopt_with_instance(settings: Settings) -> dict[str, int]:
    """Do as ``adopt_closed`` does, with the instance of ``DAGSTER_HOME``."""
    with open_instance(settings) as instance, connect(settings, autocommit=True) as connection:
        return adopt_closed(instance, connection, settings)


def adopt_closed(instance: DagsterInstance, connection: Connection, settings: Settings) -> dict[str, int]:
    """Mark as materialised what is closed and isn't, and return by asset how many partitions that were.

    Nothing is computed. Partitions before ``ANALYTICS_START`` are none of Dagster's. Repeating it changes nothing, and
    what a killed run of it has left is marked by the next one.
    """
    marked: dict[str, int] = {}
    for asset in (asset for job in CLOSING_JOBS for asset in assets_of(job)):
        key_format = partitions_for(granularity_of(asset), settings).fmt
        known = instance.get_materialized_partitions(asset_key(asset, settings))
        entries = [
            _entry(asset_key(asset, settings), key, partition)
            for partition in closed_partitions(connection, asset, midnight(settings.start))
            if (key := f"{partition.window.start:{key_format}}") not in known
        ]
        for batch in _batches(entries):
            instance.event_log_storage.store_event_batch(batch)
        marked[asset] = len(entries)
    return marked


def _entry(asset: AssetKey, key: str, partition: ClosedPartition) -> EventLogEntry:
    """Return the event of a materialisation as Dagster itself stores those that belong to no run."""
    materialization = AssetMaterialization(
        asset,
        partition=key,
        description="Closed before this Dagster instance; taken over from analytics_partitions.",
        metadata=_metadata(partition),
    )
    event = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        event_specific_data=StepMaterializationData(materialization, []),
        job_name=RUNLESS_JOB_NAME,
    )
    return EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        level=logging.INFO,
        user_message="",
        run_id=RUNLESS_RUN_ID,
        timestamp=partition.closed_at.timestamp(),
        job_name=RUNLESS_JOB_NAME,
        dagster_event=event,
    )


def _metadata(partition: ClosedPartition) -> dict[str, str | int]:
    found: dict[str, str | int] = {"closed at": _text(partition.closed_at)}
    if partition.rows is not None:
        found["dagster/partition_row_count"] = partition.rows
    if partition.events is not None:
        found["events"] = partition.events
    return found


def _batches(entries: Sequence[EventLogEntry]) -> Iterator[Sequence[EventLogEntry]]:
    for start in range(0, len(entries), _BATCH):
        yield entries[start : start + _BATCH]


def _text(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
