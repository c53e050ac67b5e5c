"""Checks run with their assets and on a schedule of their own, and tell what mends what they find."""

import re
from pathlib import Path

from click.testing import CliRunner
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    PartitionsDefinition,
)

from analytics_pipeline.cli import main
from analytics_pipeline.health.checks import all_checks
from analytics_pipeline.orchestration.checks.failed_partitions import (
    failed_partition_findings,
    partitioned_assets,
)
from analytics_pipeline.orchestration.checks.schedule import CHECKS_JOB, FRESHNESS_JOB
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

HOURLY = "analytics_revenue_hourly"
RANGE = {
    "dagster/asset_partition_range_start": "2025-01-05-10:00",
    "dagster/asset_partition_range_end": "2025-01-05-11:00",
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "checks.md"


def _run(definitions: Definitions, instance: DagsterInstance, job: str, **options: object) -> ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]


def _evaluations(result: ExecuteInProcessResult) -> dict[tuple[str, str], AssetCheckEvaluation]:
    return {(e.check_name, e.asset_key.to_user_string()): e for e in result.get_asset_check_evaluations()}


def _tamper(connection: Connection) -> None:
    table = materialized_tables(connection)[HOURLY].identifier.as_string(connection)
    connection.execute(f"UPDATE {table} SET total_value = total_value * 2")


def test_the_checks_alone_run_over_an_empty_database_and_pass(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    result = _run(definitions, instance, CHECKS_JOB)
    evaluations = _evaluations(result)
    assert result.success
    of_database = {(c.name, c.subject) for c in all_checks()}
    of_partitions = {("no_failed_partitions", asset) for asset in partitioned_assets()}
    assert set(evaluations) == of_database | of_partitions | {("partitions_recorded", "analytics_events")}
    unsound = {key: e.description for key, e in evaluations.items() if not e.passed}
    assert not unsound
    assert result.get_asset_materialization_events() == []
    hourly = _evaluations(_run(definitions, instance, FRESHNESS_JOB))
    assert {name for name, _ in hourly} == {"up_to_date", "events_arrive", "policy_jobs_healthy", "clock"}
    assert all(e.passed for e in hourly.values())


def test_what_is_wrong_is_told_with_severity_threshold_and_remedy_and_hides_nothing_else(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT remove_compression_policy('analytics_events')")
        add_event(connection, "2025-01-05T10:10", currency=None)
        connection.execute("DROP MATERIALIZED VIEW analytics_event_volume_hourly")
    result = _run(definitions, instance, CHECKS_JOB)
    evaluations = _evaluations(result)
    assert not result.success, "a failed proof fails the run, which operators are told of"
    assert not evaluations["reconciles_with_events", "analytics_event_volume_hourly"].passed
    assert DagsterEventType.STEP_UP_FOR_RETRY not in {event.event_type for event in result.all_events}
    policy = evaluations["compression_policy", "analytics_events"]
    assert (policy.passed, policy.severity) == (False, AssetCheckSeverity.ERROR)
    assert "To mend it: analytics-pipeline db policies --apply" in (policy.description or "")
    late = evaluations["up_to_date", HOURLY]
    assert "analytics-pipeline close --start 2025-01-05T10:00" in (late.description or "")
    assert late.metadata["hours allowed"].value == 2.0
    assert float(str(late.metadata["hours since its bucket ended"].value)) > 2
    silence = evaluations["events_arrive", "analytics_events"]
    assert (silence.passed, silence.severity) == (False, AssetCheckSeverity.WARN)
    assert "without a currency" in (evaluations["currencies_present", "analytics_events"].description or "")
    missing = evaluations["matches_declaration", "analytics_event_volume_hourly"]
    assert "does not exist" in (missing.description or "")
    assert evaluations["matches_declaration", HOURLY].passed


def test_closing_a_partition_runs_the_checks_of_its_assets_and_old_partitions_may_be_closed_first(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        add_event(connection, "2025-01-06T10:10")
    result = _run(definitions, instance, "hourly_aggregates", partition_key="2025-01-05-10:00")
    evaluations = _evaluations(result)
    assert result.success
    assert {asset for _, asset in evaluations} == {HOURLY, "analytics_event_volume_hourly"}
    assert evaluations["reconciles_with_events", HOURLY].passed
    assert evaluations["no_failed_partitions", HOURLY].passed
    assert not evaluations["up_to_date", HOURLY].passed


def test_a_failed_range_is_told_until_a_later_run_has_closed_it(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        assert _run(definitions, instance, "hourly_aggregates", tags=RANGE).success
        _tamper(connection)
        failed = _run(definitions, instance, "hourly_aggregates", tags=RANGE)
        assert not failed.success
        another = _run(definitions, instance, "hourly_aggregates", partition_key="2025-01-06-10:00")
        assert another.success
        told = _evaluations(another)["no_failed_partitions", HOURLY]
        assert (told.passed, told.severity) == (False, AssetCheckSeverity.ERROR)
        assert f"[2025-01-05T10:00Z, 2025-01-05T11:00Z) (run {failed.run_id}, " in (told.description or "")
        assert "analytics-pipeline close --start 2025-01-05T10:00 --end 2025-01-05T11:00" in (told.description or "")
        assert f"Assets > {HOURLY} > Materialize" in (told.description or "")
        assert told.metadata["failed ranges found"].value == 1
        doctor = CliRunner().invoke(main, ["doctor"])
        assert doctor.exit_code == 1
        assert f"no_failed_partitions     {HOURLY}: The last run failed for" in doctor.output
        proof = _evaluations(failed)["reconciles_with_events", HOURLY].description or ""
        force = re.findall(r"CALL refresh_continuous_aggregate.*?;", proof)
        connection.execute(force[0])
        assert _run(definitions, instance, "hourly_aggregates", tags=RANGE).success
        (finding,) = failed_partition_findings(instance, connection, get_settings(), [HOURLY])
    assert finding.passed


def test_every_partitioned_asset_has_its_check(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    partitioned = {
        key.to_user_string()
        for key in graph.materializable_asset_keys
        if isinstance(graph.get(key).partitions_def, PartitionsDefinition)
    }
    checked = {key.asset_key.to_user_string() for key in graph.asset_check_keys if key.name == "no_failed_partitions"}
    assert checked == set(partitioned_assets())
    assert partitioned <= checked


def test_only_what_proves_and_protects_figures_blocks(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    blocking = {key.name for key in graph.asset_check_keys if graph.get_check_spec(key).blocking}
    assert blocking == {
        "reconciles_with_events",
        "equals_definitions",
        "timescaledb_extension",
        "hypertable_layout",
    }
    assert all(graph.get_check_spec(key).description for key in graph.asset_check_keys)


def test_the_checks_have_schedules_that_are_on(definitions: Definitions) -> None:
    for name, job in (("freshness_hourly", FRESHNESS_JOB), ("checks_daily", CHECKS_JOB)):
        schedule = definitions.resolve_schedule_def(name)
        assert schedule.job_name == job
        assert schedule.default_status.value == "RUNNING"


def test_the_document_lists_exactly_the_checks_there_are(definitions: Definitions) -> None:
    listed = set(re.findall(r"^\| `(\w+)`", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    keys = definitions.resolve_asset_graph().asset_check_keys
    of_doctor = {"connection", "migrations", "server_settings", "disk_space"}
    assert listed == {key.name for key in keys} | of_doctor
