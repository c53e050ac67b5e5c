"""``prune`` makes Dagster's storage smaller, and every closed partition is seen as materialised as before."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner
from dagster import AssetKey, DagsterEventType, DagsterInstance, Definitions

from analytics_pipeline.cli import main
from analytics_pipeline.metrics.partitions import begin_attempt
from analytics_pipeline.operations.backup import dagster_storage_url
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets, proofs_of
from analytics_pipeline.orchestration.closing.recorded_partitions import recorded_partitions_finding
from analytics_pipeline.orchestration.pruning import JOB, pruning
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

FIRST = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
SECOND = Window(at("2025-01-06T00:00"), at("2025-01-07T00:00"))
HOURLY = "analytics_revenue_hourly"


@pytest.fixture
def storage(instance: DagsterInstance) -> Iterator[Connection]:
    url = dagster_storage_url(get_settings())
    assert url is not None
    with psycopg.connect(url, autocommit=True) as storage:
        yield storage


def _materialized(instance: DagsterInstance) -> dict[str, dict[str, int]]:
    """Return where Dagster finds the newest materialisation of each partition."""
    return {
        asset: dict(
            instance.event_log_storage.get_latest_storage_id_by_partition(
                AssetKey(asset), DagsterEventType.ASSET_MATERIALIZATION
            )
        )
        for asset in partitioned_assets()
    }


def _newest_results(instance: DagsterInstance) -> dict[object, object]:
    keys = proofs_of(partitioned_assets(), get_settings())
    found = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    return {key: (record.id, record.status, record.event) for key, record in found.items()}


def _events(instance: DagsterInstance, run_id: str) -> list[int]:
    return [record.storage_id for record in instance.get_records_for_run(run_id).records]


@pytest.mark.slow
def test_pruning_deletes_what_old_closed_runs_have_left_and_un_materialises_nothing(
    database: Database, definitions: Definitions, instance: DagsterInstance, storage: Connection
) -> None:
    settings = get_settings()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:00")
        superseded = close_span(definitions, settings, instance, FIRST)
        kept = close_span(definitions, settings, instance, FIRST)
        (opened, _) = close_span(definitions, settings, instance, SECOND)
        begin_attempt(connection, HOURLY, Granularity.HOUR, Window(SECOND.start, at("2025-01-06T01:00")), "a dead run")
    materialized, results = _materialized(instance), _newest_results(instance)
    assert {asset: len(keys) for asset, keys in materialized.items() if keys}[HOURLY] == 48
    of_open, of_kept = (_events(instance, run.run_id) for run in (opened, kept[0]))
    command = ["prune", "--older-than", "90d"]

    # They are not old.
    assert "0 of 6 runs" in CliRunner().invoke(main, [*command, "--yes"]).output
    storage.execute("UPDATE runs SET end_time = end_time - 100 * 86400")
    # Nobody was asked.
    refused = CliRunner().invoke(main, command)
    assert (refused.exit_code, "2 of 6 runs" in refused.output) == (1, True)
    assert instance.get_runs_count() == 6

    def interrupt(_table: str, _rows: int) -> None:
        raise KeyboardInterrupt

    with pruning(instance, settings, "90 days") as found, pytest.raises(KeyboardInterrupt):
        found.delete(interrupt)
    assert _materialized(instance) == materialized

    pruned = CliRunner().invoke(main, [*command, "--full", "--yes", "--json"])
    report = json.loads(pruned.stdout)
    assert report["runs"] == 2
    assert report["bytesAfter"] < report["bytesBefore"]
    assert _materialized(instance) == materialized
    assert _newest_results(instance) == results
    assert {run.run_id for run in instance.get_runs()}.isdisjoint(run.run_id for run in superseded)
    # The run of what is materialised stays, with that alone; one over what is open stays whole.
    left = _events(instance, kept[0].run_id)
    assert {id_ for key, id_ in materialized[HOURLY].items() if key < "2025-01-06"} <= {*left}
    assert len(left) < len(of_kept)
    assert _events(instance, opened.run_id) == of_open
    with database.connect(autocommit=True) as connection:
        assert recorded_partitions_finding(instance, connection, settings).passed

    # The weekly run finds nothing more.
    result = definitions.resolve_job_def(JOB).execute_in_process(instance=instance)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert [metadata[name].value for name in ("events deleted", "results of checks deleted", "runs deleted")] == [0] * 3
