"""What Dagster's bookkeeping of a run costs does not grow with what it need not grow with."""

import os
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
import sqlalchemy.event
import sqlalchemy.pool
from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetMaterialization,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    EventLogEntry,
    MetadataValue,
    TimeWindow,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.definitions.partitions.definition import TimeWindowPartitionsDefinition
from dagster._core.events import StepMaterializationData
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster_postgres import PostgresEventLogStorage

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.jobs import assets_of
from analytics_pipeline.orchestration.dagster_costs import LeanInstance, lighten_storage
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

HOURS = assets_of("hourly_aggregates")
WEEK = Window(at("2025-01-01T00:00"), at("2025-01-08T00:00"))
# Whatever grows with the partitions and checks of runs.
_TABLES = ("event_logs", "asset_check_executions", "asset_event_tags")


def _stored_bytes() -> int:
    with psycopg.connect(os.environ["DAGSTER_POSTGRES_URL"]) as storage:
        tables = " UNION ALL ".join(f"SELECT pg_column_size(t.*) AS size FROM {table} AS t" for table in _TABLES)
        return int(storage.execute(f"SELECT coalesce(sum(size), 0) FROM ({tables}) AS rows").fetchone()[0])  # type: ignore[index]


@pytest.mark.slow
def test_a_range_stores_a_row_for_each_check_and_under_3_kb_for_each_partition(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    assert type(instance) is LeanInstance
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
    before = _stored_bytes()
    (hours,) = (
        run for run in close_span(definitions, get_settings(), instance, WEEK) if run.job == "hourly_aggregates"
    )
    partitions = 7 * 24 * len(HOURS) + 7 * len(assets_of("daily_aggregates"))
    assert (_stored_bytes() - before) / partitions < 3_000
    with psycopg.connect(os.environ["DAGSTER_POSTGRES_URL"]) as storage:
        planned = storage.execute(
            "SELECT count(*), count(partition) FROM asset_check_executions WHERE run_id = %s", [hours.run_id]
        ).fetchone()
    assert planned == (len(HOURS), 0)
    for key, record in instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [AssetCheckKey(AssetKey(asset), "window_reconciles") for asset in HOURS]
    ).items():
        assert record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
        newest = instance.fetch_materializations(key.asset_key, limit=1).records[0]
        assert record.event is not None
        target = record.event.dagster_event.asset_check_evaluation_data.target_materialization_data  # type: ignore[union-attr]
        assert target is not None
        assert (target.storage_id, target.run_id) == (newest.storage_id, hours.run_id)


@pytest.mark.slow
def test_neither_runs_nor_sensors_list_the_partitions_of_the_whole_history(
    database: Database, instance: DagsterInstance, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("ANALYTICS_START", "1997-01-01")
    get_settings.cache_clear()
    definitions = build_definitions(get_settings())
    listed: list[str] = []
    ask = TimeWindowPartitionsDefinition.get_partition_keys_in_time_window

    def list_all(self: TimeWindowPartitionsDefinition, *arguments: object, **named: object) -> list[str]:
        listed.append(self.fmt)
        return []

    environment.setattr(TimeWindowPartitionsDefinition, "get_partition_keys", list_all)
    in_ranges: list[str] = []

    def list_range(self: TimeWindowPartitionsDefinition, window: TimeWindow) -> Sequence[str]:
        keys = ask(self, window)
        in_ranges.append(f"{len(keys)} of {self.fmt}")
        return keys

    environment.setattr(TimeWindowPartitionsDefinition, "get_partition_keys_in_time_window", list_range)
    close_span(definitions, get_settings(), instance, Window(at("2025-01-01T00:00"), at("2025-01-02T00:00")))
    once = in_ranges.count("24 of %Y-%m-%d-%H:%M")
    in_ranges.clear()
    close_span(definitions, get_settings(), instance, Window(at("2025-01-02T00:00"), at("2025-01-04T00:00")))
    assert in_ranges.count("48 of %Y-%m-%d-%H:%M") == once > 0, "listed for each partition"
    for sensor in ("partition_gaps", "late_events", "check_states"):
        Ticks(definitions, instance, sensor).tick()
    assert listed == []


@pytest.mark.slow
def test_a_process_that_executes_runs_keeps_its_connections_and_opens_one_anew_that_was_ended(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlalchemy.pool, "NullPool", sqlalchemy.pool.impl.NullPool)
    opened: list[object] = []
    with DagsterInstance.get() as own:
        lighten_storage(own)
        storage = own.event_log_storage
        assert isinstance(storage, PostgresEventLogStorage)
        engine = storage._engine
        sqlalchemy.event.listen(engine, "connect", lambda connection, _: opened.append(connection))
        lighten_storage(own)
        for _ in range(10):
            storage.get_asset_records([AssetKey(HOURS[0])])
        assert len(opened) == 1
        with psycopg.connect(os.environ["DAGSTER_POSTGRES_URL"], autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        storage.get_asset_records([AssetKey(HOURS[0])])
        assert len(opened) == 2
        engine.dispose()


def test_a_batch_of_materialisations_is_stored_as_dagster_stores_each_of_them(instance: DagsterInstance) -> None:
    key = AssetKey(HOURS[0])
    step = DagsterEvent(
        event_type_value=DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="hourly_aggregates",
        logging_tags={"step_key": HOURS[0]},
        event_specific_data=StepMaterializationData(AssetMaterialization(key)),
        message="Materialized",
        step_key=HOURS[0],
    )
    described: list[dict[str, Any]] = [
        {"window": "all", "rows": 1, "fresh": MetadataValue.bool(True), "share": 1.0},
        {"window": "all", "rows": MetadataValue.bool(True), "fresh": 1, "share": 1},
        {"share": 0.1, "window": "all", "ranges": ["a", {"b": None}]},
        {},
    ]
    made = [
        AssetMaterialization(key, metadata=metadata, partition=f"2025-01-01-{hour:02}:00", tags=tags)
        for hour, metadata in enumerate(described)
        for tags in ({DATA_VERSION_TAG: f"v{hour}"}, None)
    ]
    made += [AssetMaterialization(key, description="Another", partition="2025-01-02-00:00"), AssetMaterialization(key)]
    events = [
        EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            level="debug",
            user_message="Materialized",
            run_id="batch",
            timestamp=1_750_000_000.5 + number,
            step_key=HOURS[0],
            job_name="hourly_aggregates",
            dagster_event=step._replace(event_specific_data=StepMaterializationData(materialization)),
        )
        for number, materialization in enumerate(made)
    ]
    events.append(events[0]._replace(level=20, user_message="More"))
    with DagsterInstance.get() as own:
        plain = own.event_log_storage
        assert isinstance(plain, PostgresEventLogStorage)
        expected = [tuple(plain._event_to_row(event).values()) for event in events]
        lighten_storage(own)
        own.event_log_storage.store_event_batch(events)
    with psycopg.connect(os.environ["DAGSTER_POSTGRES_URL"]) as storage:
        stored = storage.execute(
            'SELECT run_id, event, dagster_event_type, "timestamp", step_key, asset_key, partition FROM event_logs '
            "WHERE run_id = 'batch' ORDER BY id"
        ).fetchall()
        tags = storage.execute(
            "SELECT l.partition, t.value FROM asset_event_tags AS t JOIN event_logs AS l ON l.id = t.event_id "
            "WHERE l.run_id = 'batch' ORDER BY l.id"
        ).fetchall()
    assert stored == expected
    assert tags[:4] == [(f"2025-01-01-{hour:02}:00", f"v{hour}") for hour in range(4)]
