"""The assets of monitoring: what Dagster plots is what the database says."""

from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance, Definitions, MetadataValue

from analytics_pipeline.operations.stats import read_stats
from analytics_pipeline.orchestration.monitoring import JOB
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event


def _materialize(
    definitions: Definitions, instance: DagsterInstance, *names: str
) -> dict[str, dict[str, MetadataValue]]:
    selection = [AssetKey(name) for name in names]
    job = definitions.resolve_job_def(JOB)
    result = job.execute_in_process(instance=instance, asset_selection=selection or None)
    events = result.get_asset_materialization_events()
    materializations = [event.materialization for event in events]
    return {each.asset_key.to_user_string(): dict(each.metadata) for each in materializations}


@pytest.mark.slow
def test_what_is_plotted_are_the_figures_of_the_database(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-31T12:00")
        connection.execute(
            "INSERT INTO analytics_partitions (asset, window_start, window_end, attempts, failure) "
            "VALUES ('analytics_revenue_daily', '2025-01-31', '2025-02-01', '{run}', 'boom')"
        )
        # Sizes are approximate: of what the server knows of a file, which is less the first time that it is asked.
        read_stats(connection)
        found = _materialize(definitions, instance)
        # What is a number, and no text or table, is plotted.
        shown: dict[str, dict[str, Any]] = {
            name: {key: entry.value for key, entry in metadata.items() if isinstance(entry.value, int | float)}
            for name, metadata in found.items()
        }
        stats = read_stats(connection)
    assert set(found) == {
        f"monitoring_{subject}" for subject in ("storage", "jobs", "lag", "ingestion", "statements", "dagster")
    }
    (events,) = (row for row in stats["relations"] if row["relation"] == "analytics_events")
    storage = shown["monitoring_storage"]
    assert storage["analytics_events: total bytes"] == events["total_bytes"]
    assert storage["analytics_events: chunks"] == 1
    assert {f"{aggregate.name}: total bytes" for aggregate in AGGREGATES} <= storage.keys()
    for row in stats["jobs"]:
        assert shown["monitoring_jobs"][f"{row['procedure']} of {row['relation']}: failures"] == row["failures"]
    lag = shown["monitoring_lag"]
    assert (lag["failed partitions"], lag["open partitions"], lag["stale partitions"]) == (1, 1, 0)
    assert {f"{aggregate.name}: stale ranges" for aggregate in AGGREGATES} <= lag.keys()
    assert shown["monitoring_ingestion"]["last day: rejected"] == 0
    assert found["monitoring_statements"]["pg_stat_statements"].value == stats["database"][0]["statement_statistics"]
    dagster = shown["monitoring_dagster"]
    assert dagster["storage (bytes)"] == sum(row["total_bytes"] for row in stats["dagster"]) > 0
    assert dagster["events: total bytes"] > 0
    # The tables of Dagster's storage that matter are there under the names by which it is asked for them.
    assert {"runs", "event_logs", "asset_check_executions", "job_ticks"} <= {
        row["table_name"] for row in stats["dagster"]
    }


@pytest.mark.slow
def test_growth_of_dagster_s_storage_is_told_from_what_it_was_within_a_week(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_dagster_storage VALUES (now() - interval '2 days', 'event_logs', 0, 0), "
            "(now() - interval '8 days', 'event_logs', 900, 900000000), (now() - interval '500 days', 'runs', 1, 1)"
        )
        found = _materialize(definitions, instance, "monitoring_dagster")
        assert set(found) == {"monitoring_dagster"}
        (events,) = (row for row in read_stats(connection)["dagster"] if row["table_name"] == "event_logs")
        assert abs(events["bytes_per_day"] - events["total_bytes"] / 2) < events["total_bytes"] / 1000
        assert found["monitoring_dagster"]["growth (bytes a day)"].value == events["bytes_per_day"]
        # What is older than 400 days is forgotten.
        rows = connection.execute("SELECT min(measured_at) > now() - interval '9 days' FROM analytics_dagster_storage")
        assert rows.fetchone() == (True,)
