"""Checks run with their assets and on a schedule of their own, and tell what mends what they find."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    FloatMetadataValue,
    IntMetadataValue,
    PartitionsDefinition,
    TextMetadataValue,
)
from pydantic import SecretStr

from analytics_pipeline.cli import main
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.orchestration.check_results import check_evaluation
from analytics_pipeline.orchestration.closing.failed_partitions import (
    failed_partition_findings,
)
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
from analytics_pipeline.orchestration.health import CHECKS_JOB, FRESHNESS_JOB
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

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


def _state(instance: DagsterInstance, asset: str, check: str) -> AssetCheckEvaluation:
    """Return what the UI shows of a check: its latest evaluation, of a run or of a sensor."""
    key = AssetCheckKey(AssetKey(asset), check)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    event = record.event
    assert event is not None
    assert event.dagster_event is not None
    return event.dagster_event.asset_check_evaluation_data


def _tamper(connection: Connection) -> None:
    table = materialized_tables(connection)[HOURLY].identifier.as_string(connection)
    connection.execute(f"UPDATE {table} SET total_value = total_value * 2")


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_wrong_is_reported_with_severity_threshold_and_remedy_and_hides_nothing_else(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("SELECT remove_compression_policy('analytics_events')")
        add_event(connection, "2025-01-05T10:10", currency=None)
        connection.execute("DROP MATERIALIZED VIEW analytics_event_volume_hourly CASCADE")
    result = _run(definitions, instance, CHECKS_JOB)
    evaluations = _evaluations(result)
    assert not result.success, "a failed proof fails the run, which operators are told of"
    assert not evaluations["reconciles_with_events", "analytics_event_volume_hourly"].passed
    assert DagsterEventType.STEP_UP_FOR_RETRY not in {event.event_type for event in result.all_events}
    policy = evaluations["compression_policy", "analytics_events"]
    assert (policy.passed, policy.severity) == (False, AssetCheckSeverity.ERROR)
    assert "Remedy: analytics-pipeline db policies --apply" in (policy.description or "")
    late = evaluations["up_to_date", HOURLY]
    assert "analytics-pipeline close --start 2025-01-05T10:00" in (late.description or "")
    assert late.metadata["hours allowed"].value == "2"
    assert float(str(late.metadata["hours since its bucket ended"].value)) > 2
    silence = evaluations["events_arrive", "analytics_events"]
    assert (silence.passed, silence.severity) == (False, AssetCheckSeverity.WARN)
    assert "without a currency" in (evaluations["currencies_present", "analytics_events"].description or "")
    missing = evaluations["matches_declaration", "analytics_event_volume_hourly"]
    assert "does not exist" in (missing.description or "")
    assert evaluations["matches_declaration", HOURLY].passed


@pytest.mark.slow
def test_closing_partitions_proves_their_window_and_the_state_of_their_assets_is_judged_once_it_has_ended(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    ticks = Ticks(definitions, instance, "check_states")
    ticks.tick()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        add_event(connection, "2025-01-06T10:10")
    result = _run(definitions, instance, "hourly_aggregates", partition_key="2025-01-05-10:00")
    assert result.success
    assert set(_evaluations(result)) == {
        ("window_reconciles", HOURLY),
        ("window_reconciles", "analytics_event_volume_hourly"),
    }
    # A row for each partition and check of a run is what a year of hours costs.
    assert _run(definitions, instance, "hourly_aggregates", tags=RANGE).success
    assert ticks.tick() == []
    assert ticks.skipped == f"Judged the checks of {HOURLY}, analytics_event_volume_hourly."
    assert _state(instance, HOURLY, "no_failed_partitions").passed
    assert not _state(instance, HOURLY, "up_to_date").passed, "an old partition was closed, a newer one waits"
    assert ticks.tick() == []
    assert ticks.skipped == "No run over a partitioned asset has ended since."


@pytest.mark.slow
def test_a_failed_range_is_red_until_a_run_that_has_closed_it_has_ended(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    ticks = Ticks(definitions, instance, "check_states")
    ticks.tick()
    assert _state(instance, HOURLY, "no_failed_partitions").passed
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        assert _run(definitions, instance, "hourly_aggregates", tags=RANGE).success
        _tamper(connection)
        failed = _run(definitions, instance, "hourly_aggregates", tags=RANGE)
        assert not failed.success
        ticks.tick()
        stated = _state(instance, HOURLY, "no_failed_partitions")
        assert (stated.passed, stated.severity) == (False, AssetCheckSeverity.ERROR)
        assert f"[2025-01-05T10:00Z, 2025-01-05T11:00Z) (run {failed.run_id}, " in (stated.description or "")
        assert "analytics-pipeline close --start 2025-01-05T10:00 --end 2025-01-05T11:00" in (stated.description or "")
        assert f"Assets > {HOURLY} > Materialize" in (stated.description or "")
        assert stated.metadata["failed ranges found"].value == 1
        doctor = CliRunner().invoke(main, ["doctor"])
        assert doctor.exit_code == 1
        assert f"no_failed_partitions     {HOURLY}: The last run failed for" in doctor.output
        proof = _evaluations(failed)["window_reconciles", HOURLY].description or ""
        force = re.findall(r"CALL refresh_continuous_aggregate.*?;", proof)
        # The proof of the newest closed hours has failed meanwhile, too.
        assert not _run(definitions, instance, CHECKS_JOB).success
        connection.execute(force[0])
        assert _run(definitions, instance, "hourly_aggregates", tags=RANGE).success
    assert not _state(instance, HOURLY, "no_failed_partitions").passed, "nobody has judged it since"
    (request,) = ticks.tick()
    assert _state(instance, HOURLY, "no_failed_partitions").passed
    assert request.asset_check_keys == [AssetCheckKey(AssetKey(HOURLY), "reconciles_with_events")]
    with database.connect(autocommit=True) as connection:
        (finding,) = failed_partition_findings(instance, connection, get_settings(), [HOURLY])
    assert finding.passed


@pytest.mark.slow
def test_amounts_of_the_newest_closed_days_stay_red_while_an_old_backfill_is_fine(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    ticks = Ticks(definitions, instance, "check_states")
    ticks.tick()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        add_event(connection, "2025-11-20T10:10", currency="JPY")
    for day in ("2025-11-20", "2025-01-05"):
        job = definitions.resolve_job_def("daily_aggregates")
        closed = job.execute_in_process(
            instance=instance, partition_key=day, asset_selection=[AssetKey("revenue_metrics")]
        )
        assert _evaluations(closed)["window_reconciles", "revenue_metrics"].passed
        ticks.tick()
        state = _state(instance, "revenue_metrics", "amounts_converted")
        assert not state.passed
        assert "10 JPY (2025-11-20 to 2025-11-20)" in (state.description or "")
        assert _state(instance, "revenue_metrics", "alerts").passed


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
    assert blocking == {"window_reconciles", "timescaledb_extension", "hypertable_layout"}
    assert all(graph.get_check_spec(key).description for key in graph.asset_check_keys)


def test_the_checks_have_schedules_that_are_on(definitions: Definitions) -> None:
    for name, job in (("freshness_hourly", FRESHNESS_JOB), ("checks_daily", CHECKS_JOB)):
        schedule = definitions.resolve_schedule_def(name)
        assert schedule.job_name == job
        assert schedule.default_status.value == "RUNNING"


def test_the_document_lists_exactly_the_checks_there_are(tmp_path: Path) -> None:
    # Backups have a check where a place is named for them, control totals where an ERP is.
    configured = {"backups": str(tmp_path), "erp_url": SecretStr("postgresql://erp")}
    definitions = build_definitions(get_settings().model_copy(update=configured))
    listed = set(re.findall(r"^\| `(\w+)`", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    keys = definitions.resolve_asset_graph().asset_check_keys
    of_doctor = {"connection", "migrations", "function_access", "server_settings", "disk_space"}
    assert listed == {key.name for key in keys} | of_doctor


@pytest.mark.slow
def test_every_check_plots_what_it_measured_and_shows_what_it_compared_it_with_as_text(
    database: Database, definitions: Definitions
) -> None:
    settings = get_settings()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        findings = [run_check(check, connection, settings) for check in all_checks()]
    for finding in findings:
        shown = check_evaluation(finding, settings).metadata
        plotted = {name for name, value in shown.items() if isinstance(value, IntMetadataValue | FloatMetadataValue)}
        assert plotted, finding.check
        assert not any(word in name for name in plotted for word in ("allowed", "looked at")), finding.check
        assert all(isinstance(shown[name], TextMetadataValue) for name in finding.limits), finding.check
        assert finding.limits.keys() <= finding.as_json()["metadata"].keys()
    assert any(finding.limits for finding in findings)
