"""Whatever the clock of the machine says, Dagster closes only what has ended by the database's clock."""

from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from dagster import (
    AssetKey,
    AssetMaterialization,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    SkipReason,
    build_schedule_context,
)
from dagster._core.test_utils import freeze_time

from analytics_pipeline.cli import main
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.clock import ClockError
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.clocks import shift_machine_clock
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

pytestmark = pytest.mark.slow

TWO_DAYS = timedelta(days=2)


def _today() -> Window:
    start = Granularity.DAY.floor(datetime.now(UTC))
    return Window(start, Granularity.DAY.next(start))


def _materialized(instance: DagsterInstance) -> dict[str, set[str]]:
    counts = {
        asset: instance.get_materialized_partitions(AssetKey(asset)) for job in CLOSING_JOBS for asset in assets_of(job)
    }
    return {asset: keys for asset, keys in counts.items() if keys}


def _stored_rows(connection: Connection) -> int:
    """Return how many rows of aggregates, metrics, users and subscriptions are stored."""
    tables = [table.identifier.as_string(connection) for table in materialized_tables(connection).values()]
    tables += ["analytics_metric_periods", "analytics_users", "analytics_subscriptions", "analytics_report_documents"]
    return sum(int(fetch_row(connection, f"SELECT count(*) FROM {table}")[0]) for table in tables)


@pytest.mark.parametrize("by", [TWO_DAYS, -TWO_DAYS], ids=str)
def test_the_command_closes_nothing_with_a_clock_two_days_off(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    monkeypatch: pytest.MonkeyPatch,
    by: timedelta,
) -> None:
    today = _today()
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{today.start:%Y-%m-%dT%H:%M}")
        shift_machine_clock(monkeypatch, by)
        with freeze_time(datetime.now(UTC) + by), pytest.raises(ClockError, match=r"2 days (ahead of|behind)"):
            close_span(definitions, get_settings(), instance, today)
        assert _stored_rows(connection) == 0
    assert (_materialized(instance), instance.get_runs_count()) == ({}, 0)


def test_a_run_over_a_day_that_has_not_ended_is_refused_with_a_clock_two_days_ahead(
    database: Database, instance: DagsterInstance, definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = _today()
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{today.start:%Y-%m-%dT%H:%M}")
        shift_machine_clock(monkeypatch, TWO_DAYS)
        result = _run(definitions, instance, "daily_aggregates", today, ahead=TWO_DAYS)
        assert not result.success
        assert _stored_rows(connection) == 0
    assert _materialized(instance) == {}


def test_no_asset_closes_a_day_that_the_database_is_still_in_when_the_clocks_are_close(
    database: Database, instance: DagsterInstance, definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's clock says that the day is over; the one that is compared differs by two minutes only."""
    today = _today()
    with database.connect(autocommit=True) as connection:
        add_event(connection, f"{today.start:%Y-%m-%dT%H:%M}")
        shift_machine_clock(monkeypatch, timedelta(minutes=2))
        for asset in assets_of("daily_aggregates"):
            result = _run(definitions, instance, "daily_aggregates", today, ahead=TWO_DAYS, asset=asset)
            assert not result.success, asset
            (failure,) = [event for event in result.all_events if event.is_step_failure]
            assert "ended yet" in str(failure.step_failure_data.user_failure_data), asset
        assert _stored_rows(connection) == 0
    assert _materialized(instance) == {}


def test_a_range_that_reaches_into_what_has_not_ended_marks_none_of_it_closed(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    today = _today()
    days = Window(today.start - timedelta(days=2), today.end)
    result = _run(definitions, instance, "daily_aggregates", days, ahead=TWO_DAYS, asset="analytics_revenue_daily")
    assert not result.success
    assert _materialized(instance) == {}


def test_the_closing_sensors_wait_while_the_clocks_differ_and_go_on_afterwards(
    database: Database, instance: DagsterInstance, environment: pytest.MonkeyPatch, definitions: Definitions
) -> None:
    for name in ("partition_gaps", "late_events"):
        ticks = Ticks(definitions, instance, name)
        with pytest.MonkeyPatch.context() as patch:
            shift_machine_clock(patch, TWO_DAYS)
            assert ticks.tick() == []
            assert ticks.skipped is not None
            assert "2 days ahead of the database's" in ticks.skipped
        requests = ticks.tick()
        assert bool(requests) == (name == "partition_gaps")


def test_a_schedule_asks_for_no_run_that_would_be_refused(
    database: Database, instance: DagsterInstance, definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tick(moment: datetime) -> str:
        with build_schedule_context(instance, moment, definitions.resources) as context:
            (result,) = definitions.resolve_schedule_def("hourly_aggregates")(context)  # type: ignore[misc]
        assert isinstance(result, SkipReason)
        return result.skip_message or ""

    hour = Granularity.HOUR.floor(datetime.now(UTC))
    assert "has not ended by the database's clock" in tick(hour + timedelta(hours=1, minutes=5))
    shift_machine_clock(monkeypatch, TWO_DAYS)
    assert "2 days ahead of the database's" in tick(hour + timedelta(minutes=5))


def test_what_a_wrong_clock_has_closed_too_early_is_closed_again_once_it_has_ended(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    today = _today()
    yesterday = Window(today.start - timedelta(days=1), today.start)
    with database.connect(autocommit=True) as connection:
        for day in (yesterday, today):
            add_event(connection, f"{day.start:%Y-%m-%dT%H:%M}", "invoice.created", category="billing")
            partition = f"{day.start:%Y-%m-%d}"
            instance.report_runless_asset_event(AssetMaterialization("analytics_billing_daily", partition=partition))
    ticks = Ticks(definitions, instance, "late_events")
    assert ticks.tick() == [], "their hours are not closed"
    assert ticks.skipped is not None
    assert f"daily_aggregates for {yesterday} waits" in ticks.skipped


def test_a_clock_that_is_a_little_behind_closes_what_has_ended_by_both(
    database: Database, instance: DagsterInstance, definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    shift_machine_clock(monkeypatch, timedelta(minutes=-4))
    hour = Granularity.HOUR.floor(now)
    closed = close_span(definitions, get_settings(), instance, Window(hour - timedelta(hours=2), hour))
    ended = Granularity.HOUR.floor(now - timedelta(minutes=4))
    assert closed[0].window.end in (ended, hour)


def test_doctor_names_both_clocks_and_the_remedy(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for by, status, state in ((timedelta(minutes=2), 0, "warning"), (-TWO_DAYS, 1, "error")):
        with pytest.MonkeyPatch.context() as patch:
            shift_machine_clock(patch, by)
            doctor = CliRunner().invoke(main, ["doctor"])
        assert doctor.exit_code == status, doctor.output
        (line,) = [line for line in doctor.output.splitlines() if " clock " in line]
        assert line.startswith(state)
        assert "this machine's clock says" in line.lower()
        assert "timedatectl set-ntp true" in doctor.output


def test_an_unfinished_span_says_what_the_database_has_not_seen_end(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    hour = Granularity.HOUR.floor(datetime.now(UTC)) + timedelta(hours=2)
    with pytest.raises(AnalyticsError, match="has ended yet"):
        close_span(definitions, get_settings(), instance, Window(hour, hour + timedelta(hours=1)))


def _run(
    definitions: Definitions,
    instance: DagsterInstance,
    job: str,
    days: Window,
    *,
    ahead: timedelta,
    asset: str | None = None,
) -> ExecuteInProcessResult:
    """Run a job over days whose end Dagster's clock has seen."""
    tags = {
        "dagster/asset_partition_range_start": f"{days.start:%Y-%m-%d}",
        "dagster/asset_partition_range_end": f"{days.end - timedelta(days=1):%Y-%m-%d}",
    }
    with freeze_time(datetime.now(UTC) + ahead):
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance,
            tags=tags,
            asset_selection=None if asset is None else [AssetKey(asset)],
            raise_on_error=False,
        )
