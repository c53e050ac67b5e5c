"""What Dagster 1.13.27 does for each partition, or for each statement, without need, and how we get along without that.

Each part names the function of Dagster that it replaces or goes around, and goes when that function has changed;
``test_dagster_costs`` counts what they cost. Beside them what its UI leaves out of a run over many partitions. Every
Dagster process imports this, since ``dagster.yaml`` names ``LeanInstance``: so it imports nothing but Dagster.
"""

import json
import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy
from dagster import (
    AssetCheckResult,
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    EventLogEntry,
    Field,
    StepExecutionContext,
)
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.events import StepMaterializationData
from dagster._core.execution.context.metadata_logging import (
    AssetMetadataHandle,
    OutputMetadataAccumulator,
    OutputMetadataHandle,
)
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.event_log.schema import AssetEventTagsTable, SqlEventLogStorageTable
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage
from dagster_postgres.utils import create_pg_engine
from dagster_shared.serdes import serialize_value
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from dagster._core.events import DagsterEventBatchMetadata
    from dagster._serdes import ConfigurableClassData


class LeanInstance(DagsterInstance):
    """A ``DagsterInstance`` that plans a check of a run once, and shows each partition of a run in an asset's history.

    ``DagsterRun.get_resolved_partitions_subset_for_events`` (dagster/_core/storage/dagster_run.py) returns the run's
    partitions before it asks whether there is a definition of partitions, and no check of ours has one.
    ``SqlEventLogStorage._store_asset_check_evaluation_planned`` (dagster/_core/storage/event_log/sql_event_log.py)
    then stores a row with the whole event for each partition, which nothing reads or updates: 2.3 kB, half of what a
    close stored.
    """

    @classmethod
    def config_schema(cls) -> Mapping[str, Field]:
        """Return what the class adds to ``dagster.yaml``: nothing."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> "Mapping[str, ConfigurableClassData | None]":
        """Return what is used where ``dagster.yaml`` says nothing: as with any instance."""
        return InstanceRef.config_defaults(base_dir)

    def report_dagster_event(
        self,
        dagster_event: DagsterEvent,
        run_id: str,
        log_level: str | int = logging.INFO,
        batch_metadata: "DagsterEventBatchMetadata | None" = None,
        timestamp: float | None = None,
    ) -> None:
        """Store an event of a run."""
        if dagster_event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            planned = dagster_event.asset_check_planned_data
            once = AssetCheckEvaluationPlanned(asset_key=planned.asset_key, check_name=planned.check_name)
            dagster_event = dagster_event._replace(event_specific_data=once)
        super().report_dagster_event(dagster_event, run_id, log_level, batch_metadata, timestamp)

    def handle_new_event(
        self, event: EventLogEntry, *, batch_metadata: "DagsterEventBatchMetadata | None" = None
    ) -> None:
        """Store an event of a run; of the materialisations of an asset in it each at a millisecond of its own.

        The history of an asset in the UI (``usePaginatedAssetEvents.tsx``) takes two events of a run with one
        millisecond for one: of a range of 89 days it showed 12. They are made faster than one a millisecond, so that
        the last of a year of hours is some seconds ahead.
        """
        of_step = event.dagster_event
        if of_step is not None and isinstance(of_step.event_specific_data, StepMaterializationData):
            asset = of_step.event_specific_data.materialization.asset_key
            event = event._replace(timestamp=self._own_millisecond(event, asset))
        super().handle_new_event(event, batch_metadata=batch_metadata)

    @cached_property
    def _materialized(self) -> dict[AssetKey, tuple[str, int]]:
        """By asset the run that materialised it last, and at which millisecond; two of a run may be at work at once."""
        return {}

    def _own_millisecond(self, event: EventLogEntry, asset: AssetKey) -> float:
        millisecond = int(event.timestamp * 1000)
        run_id, last = self._materialized.get(asset, ("", 0))
        if run_id == event.run_id:
            millisecond = max(millisecond, last + 1)
        self._materialized[asset] = event.run_id, millisecond
        # In its middle, so that no rounding moves it into another one.
        return (millisecond + 0.5) / 1000


class LeanCheckResult(AssetCheckResult):
    """A result that finds the materialisation it speaks of without listing every partition there is.

    ``DataVersionCache._fetch_input_asset_version_info`` (dagster/_core/execution/context/data_version_cache.py), by
    which Dagster looks for it, takes all partitions of the asset for the input of the check and lists the keys of all:
    2 s for each check of an hourly asset since 1997.
    """

    def _get_unpartitioned_target_materialization_data(
        self, step_context: StepExecutionContext, asset_key: AssetKey
    ) -> AssetCheckEvaluationTargetMaterializationData | None:
        for newest in step_context.instance.fetch_materializations(asset_key, limit=1).records:
            return AssetCheckEvaluationTargetMaterializationData(
                run_id=newest.run_id, storage_id=newest.storage_id, timestamp=newest.timestamp
            )
        return None


def add_partition_metadata(context: AssetExecutionContext, metadata: Mapping[str, Mapping[str, Any]]) -> None:
    """Give partitions of the run, by their keys, metadata of their own; once in a step, before any other metadata.

    ``StepExecutionContext.add_asset_metadata`` (dagster/_core/execution/context/system.py) lists the run's partitions
    and copies what it was given before, at each call: for a year of hours that took a fifth of the process's time.
    """
    step, asset = context.op_execution_context._step_execution_context, context.asset_key
    handles: dict[OutputMetadataHandle | AssetMetadataHandle, Mapping[str, Any]] = {
        AssetMetadataHandle(asset_key=asset, partition_key=key): of_one for key, of_one in metadata.items()
    }
    step._metadata_accumulator = OutputMetadataAccumulator(per_output_metadata=handles)


class _SerializedMaterializations:
    """Gives the text of materialisations of one step, in which instant, partition, metadata and tags alone differ.

    It is what ``serialize_value`` (dagster_shared/serdes/serdes.py) gives, which walks through every part of each:
    a fifth of the time that a year of hours spent in Dagster.
    """

    # What stands in the common text in place of what an event has of its own, before its name.
    _PLACE = uuid.uuid4()

    def __init__(self, first: EventLogEntry, text: str) -> None:
        """Take one of them with its text."""
        self._alike = self._without_its_own(first)
        self._entries: dict[tuple[str, type, object], str] = {}
        if self._alike is not None:
            common = json.loads(text)
            materialization = common["dagster_event"]["event_specific_data"]["materialization"]
            for name in ("partition", "tags", "metadata_entries"):
                materialization[name] = f"{self._PLACE} {name}"
            common["timestamp"] = f"{self._PLACE} timestamp"
            # Text and names by turns.
            self._common = re.split(rf'"{self._PLACE} (\w+)"', json.dumps(common))

    def text(self, event: EventLogEntry) -> str | None:
        """Return the text of another one, None if it differs in more."""
        if self._alike is None or self._without_its_own(event) != self._alike:
            return None
        materialization = event.get_dagster_event().step_materialization_data.materialization
        entries = ", ".join(self._entry(materialization, label) for label in materialization.metadata)
        own = {
            "timestamp": json.dumps(event.timestamp),
            "partition": json.dumps(materialization.partition),
            "tags": json.dumps(None if materialization.tags is None else dict(materialization.tags)),
            "metadata_entries": f"[{entries}]",
        }
        texts = self._common.copy()
        texts[1::2] = [own[name] for name in texts[1::2]]
        return "".join(texts)

    def _entry(self, materialization: AssetMaterialization, label: str) -> str:
        value = materialization.metadata[label]
        # With its type: Dagster takes the whole number 1 and true for equal.
        key = label, type(value), value
        try:
            if key not in self._entries:
                self._entries[key] = self._serialized_entry(materialization, label)
            return self._entries[key]
        except TypeError:  # a list or a mapping, which can't be looked up
            return self._serialized_entry(materialization, label)

    @staticmethod
    def _serialized_entry(materialization: AssetMaterialization, label: str) -> str:
        alone = materialization._replace(metadata={label: materialization.metadata[label]})
        (entry,) = json.loads(serialize_value(alone))["metadata_entries"]
        return json.dumps(entry)

    @staticmethod
    def _without_its_own(event: EventLogEntry) -> EventLogEntry | None:
        of_step = event.dagster_event
        if of_step is None or not isinstance(of_step.event_specific_data, StepMaterializationData):
            return None
        data = of_step.event_specific_data
        same = data.materialization._replace(partition=None, metadata={}, tags=None)
        of_step = of_step._replace(event_specific_data=data._replace(materialization=same))
        return event._replace(timestamp=0.0, dagster_event=of_step)


class _LeanEventLogStorage(PostgresEventLogStorage):
    """Stores the materialisations of a range in batches that cost less.

    ``SqlEventLogStorage.prepare_insert_event_batch`` and ``_store_asset_event_tags``
    (dagster/_core/storage/event_log/sql_event_log.py) make statements with up to seven parameters for each of a
    thousand events, and putting them together takes SQLAlchemy longer than making the rows: here each column is one
    parameter.
    """

    def prepare_insert_event_batch(self, events: Sequence[EventLogEntry]) -> sqlalchemy.Insert:
        """Return the statement that stores events, the ids of which come in their order."""
        first = self._event_to_row(events[0])
        serialized = _SerializedMaterializations(events[0], first["event"])
        rows = [first, *(self._row(event, first, serialized.text(event)) for event in events[1:])]
        return self._insert(SqlEventLogStorageTable, rows)

    def _store_asset_event_tags(
        self, conn: sqlalchemy.Connection, events: Sequence[EventLogEntry], event_ids: Sequence[int]
    ) -> None:
        rows = [
            {
                "event_id": event_id,
                "asset_key": event.get_dagster_event().asset_key.to_string(),  # type: ignore[union-attr]
                "key": key,
                "value": value,
                "event_timestamp": self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
            }
            for event_id, event in zip(event_ids, events, strict=True)
            for key, value in self._tags_for_asset_event(event).items()
        ]
        if rows and self.has_table(AssetEventTagsTable.name):
            conn.execute(self._insert(AssetEventTagsTable, rows))

    @staticmethod
    def _insert(table: sqlalchemy.Table, rows: Sequence[Mapping[str, Any]]) -> sqlalchemy.Insert:
        columns = [column for column in table.c if column.name in rows[0]]
        arrays = [sqlalchemy.cast([row[column.name] for row in rows], ARRAY(column.type)) for column in columns]
        names = [column.name for column in columns]
        listed = sqlalchemy.select(sqlalchemy.func.unnest(*arrays).table_valued(*names).render_derived())
        return table.insert().from_select(names, listed)

    def _row(self, event: EventLogEntry, first: dict[str, Any], text: str | None) -> dict[str, Any]:
        if text is None:
            return self._event_to_row(event)
        timestamp = self._event_insert_timestamp(event)  # type: ignore[no-untyped-call]
        return {**first, "event": text, "timestamp": timestamp, "partition": event.get_dagster_event().partition}


def lighten_storage(instance: DagsterInstance) -> None:
    """Let a process that executes runs use Dagster's storages on PostgreSQL at less cost: one connection to each.

    ``PostgresEventLogStorage.__init__`` and ``PostgresRunStorage.__init__`` (dagster_postgres) open a connection for
    each statement: 740 in a close of three months, an eighth of its time. Batches of events are stored by
    ``_LeanEventLogStorage``. Harmless when repeated.
    """
    for storage in (instance.run_storage, instance.event_log_storage):
        if not isinstance(storage, PostgresRunStorage | PostgresEventLogStorage):
            continue
        if isinstance(storage._engine.pool, NullPool):
            storage._engine = create_pg_engine(
                storage.postgres_url,
                storage._token_provider,
                isolation_level="AUTOCOMMIT",
                pool_size=1,
                max_overflow=-1,
                # One that a restart of the server has closed is opened anew.
                pool_pre_ping=True,
            )
        if type(storage) is PostgresEventLogStorage:
            storage.__class__ = _LeanEventLogStorage
