"""The asset of the rates: what a run loads, shows and checks, and when it runs."""

from pathlib import Path

import pytest
from dagster import (
    AssetKey,
    DagsterInstance,
    DefaultScheduleStatus,
    Definitions,
    ExecuteInProcessResult,
    TableSchemaMetadataValue,
)

from analytics_pipeline.asset_names import FX_ASSET
from analytics_pipeline.fx.exchange_rates import FX_COLUMNS
from analytics_pipeline.orchestration.fx import FX_JOB
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

RATES = "rate_date,base,quote,rate\n2025-01-30,EUR,USD,1.0396\n2025-01-31,EUR,CHF,0.9451\n"


def _run(
    definitions: Definitions, instance: DagsterInstance, environment: pytest.MonkeyPatch, source: str
) -> ExecuteInProcessResult:
    environment.setenv("ANALYTICS_FX_SOURCE", source)
    get_settings.cache_clear()
    job = definitions.resolve_job_def(FX_JOB)
    return job.execute_in_process(instance=instance, raise_on_error=False)


@pytest.mark.slow
def test_a_run_loads_the_configured_source_and_shows_what_it_did(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    path = tmp_path / "rates.csv"
    path.write_text(RATES + "2025-01-31,EUR,EUR,1\n")
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-31T12:00", currency="USD")
    result = _run(definitions, instance, environment, str(path))
    assert result.success
    (event,) = result.get_asset_materialization_events()
    shown = {name: value.value for name, value in event.materialization.metadata.items()}
    assert {name: shown[name] for name in ("dagster/row_count", "newest rate", "currencies", "source")} == {
        "dagster/row_count": 2,
        "newest rate": "2025-01-31",
        "currencies": "CHF, EUR, USD",
        "source": str(path),
    }
    counts = ("rates read", "new rates", "changed rates", "unchanged rates", "rejected")
    assert [shown[name] for name in counts] == [3, 2, 0, 0, 1]
    assert shown["rejected because"] == {"base and quote are one": 1}
    evaluations = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert evaluations == {"rates_fresh": True, "rates_without_gaps": True}
    again = _run(definitions, instance, environment, str(path)).get_asset_materialization_events()[0]
    assert [again.materialization.metadata[name].value for name in counts] == [3, 0, 0, 2, 1]


def test_a_failed_check_of_the_rates_stops_nothing(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "rates.csv").write_text(RATES)
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-31T12:00", currency="JPY")
    result = _run(definitions, instance, environment, str(tmp_path / "rates.csv"))
    failed = {e.check_name: e for e in result.get_asset_check_evaluations() if not e.passed}
    assert result.success
    assert "JPY 2025-01-31" in (failed["rates_without_gaps"].description or "")
    assert not any(evaluation.blocking for evaluation in failed.values())


@pytest.mark.parametrize(("source", "attempts"), [("none.csv", 1), ("http://127.0.0.1:1/rates.csv", 2)])
def test_what_may_pass_by_itself_is_tried_again_and_a_missing_file_is_not(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    environment: pytest.MonkeyPatch,
    source: str,
    attempts: int,
) -> None:
    result = _run(definitions, instance, environment, source)
    assert not result.success
    events = [event.event_type_value for event in result.all_events]
    assert 1 + events.count("STEP_RESTARTED") == attempts
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    assert "Can't read the rates of" in str(error) + str(failure.step_failure_data.user_failure_data)


def test_the_asset_is_described_and_scheduled_each_day(definitions: Definitions) -> None:
    asset = definitions.resolve_asset_graph().get(AssetKey(FX_ASSET))
    assert (asset.group_name, asset.metadata["dagster/table_name"]) == ("storage", "analytics_fx_rates")
    columns = asset.metadata["dagster/column_schema"]
    assert isinstance(columns, TableSchemaMetadataValue)
    assert [column.name for column in columns.schema.columns] == list(FX_COLUMNS)
    schedule = definitions.resolve_schedule_def(FX_JOB)
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 16 * * *", "UTC")
    assert schedule.default_status is DefaultScheduleStatus.RUNNING
    assert schedule.job_name == FX_JOB


def test_the_columns_shown_are_those_of_the_table(database: Database) -> None:
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = 'analytics_fx_rates'::regclass AND attnum > 0 ORDER BY attnum"
        ).fetchall()
    types = {"timestamp with time zone": "timestamptz"}
    assert [(name, types.get(kind, kind)) for name, kind in rows] == [(n, c.type) for n, c in FX_COLUMNS.items()]
