"""What is closed stands in the database: what runs write, what sensors find by it, and Dagster's record beside it."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterInstance, DagsterRunStatus, Definitions, ExecuteInProcessResult
from dagster._core.test_utils import create_run_for_test

from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.metrics.partitions import begin_attempt, closed_ranges, failed_ranges, record_closed
from analytics_pipeline.metrics.tables import REVENUE_METRICS, close_metric
from analytics_pipeline.orchestration import failures
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.failed_partitions import failed_partition_findings
from analytics_pipeline.orchestration.closing.jobs import granularity_of, partitioned_assets
from analytics_pipeline.orchestration.closing.plan import ClosingPlan
from analytics_pipeline.orchestration.closing.recorded_partitions import recorded_partitions_finding
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.settings import get_settings
from analytics_pipeline.supervisor.output import Output
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import materialized_tables, refresh
from analytics_pipeline.windows import Granularity, Window, without_windows
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks

HOURLY = "analytics_revenue_hourly"
HOUR = Window(at("2025-01-05T10:00"), at("2025-01-05T11:00"))
DAY = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
RANGE = {
    "dagster/asset_partition_range_start": "2025-01-05-00:00",
    "dagster/asset_partition_range_end": "2025-01-05-23:00",
}
QUARTER = Window.of_dates(date(2025, 1, 1), date(2025, 3, 31))


def _run(definitions: Definitions, instance: DagsterInstance, job: str, **options: object) -> ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]


def _close_hours(definitions: Definitions, instance: DagsterInstance) -> ExecuteInProcessResult:
    return _run(definitions, instance, "hourly_aggregates", tags=RANGE, asset_selection=[AssetKey(HOURLY)])


def _hours(connection: Connection) -> list[tuple[object, ...]]:
    """Return the hours of the day that hold rows or are not closed, each with what is written of it."""
    return connection.execute(
        "SELECT extract(hour FROM window_start)::int, closed_at IS NOT NULL, rows, events, failed_attempts "
        "FROM analytics_partitions WHERE asset = %s AND (rows <> 0 OR closed_at IS NULL) ORDER BY 1",
        [HOURLY],
    ).fetchall()


def _close(connection: Connection, asset: str, window: Window) -> None:
    """Write down that a window is closed, as a run does."""
    begin_attempt(connection, asset, granularity_of(asset), window, "closing-run")
    record_closed(connection, asset, window, "closing-run")


def _close_everything(connection: Connection, span: Window) -> None:
    """Write down that a span of whole months is closed, in every asset."""
    for asset in partitioned_assets():
        _close(connection, asset, span)


def _kill(connection: Connection, asset: str, window: Window, run: str = "killed-run", times: int = 1) -> None:
    """Leave attempts at a window that nobody has ended."""
    for number in range(times):
        begin_attempt(
            connection, asset, granularity_of(asset), window, run if number == times - 1 else f"{run}-{number}"
        )


def _plan(instance: DagsterInstance, connection: Connection, reason: str = "test") -> ClosingPlan:
    return ClosingPlan(PartitionState(instance, connection, get_settings(), datetime.now(UTC)), reason)


@pytest.mark.slow
def test_a_run_writes_its_proof_beside_the_figures_and_the_same_again_when_it_is_repeated(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        add_event(connection, "2025-01-05T10:20")
        for _ in range(2):
            run = _close_hours(definitions, instance)
            assert run.success
            assert closed_ranges(connection) == {HOURLY: [DAY]}
            assert _hours(connection) == [(10, True, 1, 2, 0)]
            assert fetch_row(connection, "SELECT DISTINCT run_id FROM analytics_partitions") == (run.run_id,)


@pytest.mark.slow
def test_a_proof_that_fails_leaves_open_exactly_the_partitions_that_differ(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        for hour in (9, 10, 11):
            add_event(connection, f"2025-01-05T{hour:02}:10")
        assert _close_hours(definitions, instance).success
        table = materialized_tables(connection)[HOURLY].identifier.as_string(connection)
        connection.execute(f"UPDATE {table} SET total_value = total_value * 2 WHERE bucket = %s", [HOUR.start])
        for attempts in (1, 2):
            run = _close_hours(definitions, instance)
            assert not run.success
            assert _hours(connection) == [(9, True, 1, 1, 0), (10, False, None, None, attempts), (11, True, 1, 1, 0)]
        (failed,) = failed_ranges(connection)[HOURLY]
        assert (failed.window, failed.run_id) == (HOUR, run.run_id)
        assert "reconciles_with_events: 1 rows" in (failed.failure or "") or "differ" in (failed.failure or "")
        (finding,) = failed_partition_findings(instance, connection, get_settings(), [HOURLY])
        assert f"{HOUR} (run {run.run_id}, reconciles_with_events" in finding.summary


def _materialize_behind_horizon(definitions: Definitions, instance: DagsterInstance) -> bool:
    return _run(definitions, instance, "hourly_aggregates", partition_key="2025-01-05-10:00").success


def _materialize_range_behind_horizon(definitions: Definitions, instance: DagsterInstance) -> bool:
    days = {"dagster/asset_partition_range_start": "2025-01-02", "dagster/asset_partition_range_end": "2025-01-20"}
    return _run(
        definitions, instance, "daily_aggregates", tags=days, asset_selection=[AssetKey("analytics_revenue_daily")]
    ).success


@pytest.mark.slow
@pytest.mark.parametrize("materialize", [_materialize_behind_horizon, _materialize_range_behind_horizon])
def test_a_run_that_is_refused_changes_nothing_about_what_is_closed_stale_or_failed(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    monkeypatch: pytest.MonkeyPatch,
    materialize: Callable[[Definitions, DagsterInstance], bool],
) -> None:
    settings = get_settings()
    monkeypatch.setattr(failures, "_SETTLED_SECONDS", -5.0)
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        add_event(connection, "2025-01-25T12:00")
        for aggregate in AGGREGATES:
            refresh(connection, aggregate, QUARTER)
        close_metric(connection, REVENUE_METRICS, Granularity.MONTH, QUARTER, settings.base_currency)
        _close_everything(connection, QUARTER)
        connection.execute("SELECT drop_chunks('analytics_events', '2025-01-16'::timestamptz)")
        (before,) = fetch_row(connection, "SELECT array_agg(p ORDER BY p) FROM analytics_partitions AS p")

        assert not materialize(definitions, instance)

        assert fetch_row(connection, "SELECT array_agg(p ORDER BY p) FROM analytics_partitions AS p") == (before,)
        findings = failed_partition_findings(instance, connection, settings, partitioned_assets())
        assert all(finding.passed for finding in findings)
        runs = Ticks(definitions, instance, "run_failures")
        runs.tick()
        assert runs.skipped == "Nothing has failed or recovered that operators don't know of."
        # What the figures of three months stand on has changed: none of them waits for the refused partitions.
        connection.execute("INSERT INTO analytics_metric_changes (changed_from, cause) VALUES ('2025-01-01Z', 'rates')")
        (request,) = Ticks(definitions, instance, "late_events").tick()
        assert request.tags["dagster/asset_partition_range_start"] == "2025-01-01"
        assert request.tags["dagster/asset_partition_range_end"] == "2025-03-01"
        with pytest.raises(RefusedError, match="the retention horizon"):
            close_span(definitions, settings, instance, Window(HOUR.start, QUARTER.end))
        assert instance.get_runs_count() == 1, "what we start ourselves is refused before there is a run"


@pytest.mark.slow
def test_a_run_that_is_refused_is_one_line_with_its_reason_on_the_console_of_up(
    database: Database,
    instance: DagsterInstance,
    definitions: Definitions,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-01-16Z')")
    capfd.readouterr()
    assert not _materialize_behind_horizon(definitions, instance)
    (run,) = instance.get_runs()
    log = capfd.readouterr().err
    # Each line is there however soon the run ended: it is not copied by another process that may be stopped first.
    failed_steps = sorted(re.findall(r"(\w+) - STEP_FAILURE - ", log))
    assert (failed_steps, log.count(" - RUN_FAILURE - ")) == (["analytics_event_volume_hourly", HOURLY], 1)
    Output(tmp_path / "up.log").follow("daemon", BytesIO(log.encode())).reader.join()
    line, reason = capfd.readouterr().out.splitlines()
    assert f"error of the daemon: run {run.run_id} of hourly_aggregates: " in line
    assert "STEP_FAILURE" in line
    assert "the retention horizon" in reason


@pytest.mark.slow
def test_a_range_is_split_around_what_waits_and_each_part_names_the_partition_and_the_run(
    database: Database, instance: DagsterInstance
) -> None:
    february = Window.of_month(date(2025, 2, 1))
    with database.connect(autocommit=True) as connection:
        _close_everything(connection, QUARTER)
        lost = Window(at("2025-02-10T00:00"), at("2025-02-11T00:00"))
        _kill(connection, "analytics_revenue_daily", lost, "run-of-february", times=3)
        tags = {"dagster/asset_partition_range_start": "2025-03-01", "dagster/asset_partition_range_end": "2025-03-01"}
        under_way = create_run_for_test(instance, "monthly_aggregates", status=DagsterRunStatus.STARTED, tags=tags)
        plan = _plan(instance, connection)
        plan.add("monthly_aggregates", {"analytics_revenue_monthly": [QUARTER]})
        (request,) = plan.requests()
    assert request.tags["dagster/asset_partition_range_start"] == "2025-01-01"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-01-01"
    assert sorted(plan.waiting) == [
        f"monthly_aggregates for {february} waits for analytics_revenue_daily for {lost} "
        "(failed 3 times, last in run run-of-february)",
        f"monthly_aggregates for {Window.of_month(date(2025, 3, 1))} waits for analytics_revenue_monthly for "
        f"{Window.of_month(date(2025, 3, 1))} (run {under_way.run_id} is under way)",
    ]


@pytest.mark.slow
def test_runs_over_closed_hours_stop_before_what_waits_what_has_failed_and_what_has_expired(
    database: Database, instance: DagsterInstance
) -> None:
    def hours(*days: int) -> list[Window]:
        starts = [at(f"2025-02-{day:02}T05:00") for day in days]
        return [Window(start, start + timedelta(hours=1)) for start in starts]

    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-02-10T12:00")
        _close_everything(connection, QUARTER)
        connection.execute("INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-02-04Z')")
        (lost, under_way) = hours(11, 15)
        _kill(connection, HOURLY, lost, times=3)
        keys = {"dagster/asset_partition_range_start": f"{under_way.start:%Y-%m-%d-%H:%M}"}
        create_run_for_test(instance, "hourly_aggregates", status=DagsterRunStatus.STARTED, tags=keys)
        plan = _plan(instance, connection)
        plan.add("hourly_aggregates", {HOURLY: hours(3, 5, 6, 8, 10, 12, 14, 15, 16)}, over_closed=True)
        asked = [tuple(request.tags.values())[:2] for request in plan.requests()]
    assert asked == [
        ("2025-02-03-05:00", "2025-02-03-05:00"),
        ("2025-02-05-05:00", "2025-02-10-05:00"),
        ("2025-02-12-05:00", "2025-02-14-05:00"),
        ("2025-02-16-05:00", "2025-02-16-05:00"),
    ]
    (waits,) = plan.waiting
    assert waits.startswith(f"hourly_aggregates for {under_way} waits for {HOURLY} for {under_way} (run ")


@pytest.mark.slow
def test_a_range_that_failed_as_a_whole_is_tried_again_in_parts_until_what_fails_is_alone(
    database: Database, instance: DagsterInstance
) -> None:
    def hours_asked(window: Window) -> list[int]:
        plan = _plan(instance, connection)
        plan.add("hourly_aggregates", {HOURLY: [window]})
        keys = [list(request.tags.values())[:2] for request in plan.requests()]
        starts = [[datetime.strptime(key, "%Y-%m-%d-%H:%M") for key in pair] for pair in keys]  # noqa: DTZ007
        return [(last - first) // timedelta(hours=1) + 1 for first, last in starts]

    tenth = Window(QUARTER.start, QUARTER.start + timedelta(hours=221))
    with database.connect(autocommit=True) as connection:
        assert hours_asked(QUARTER) == [90 * 24]
        _kill(connection, HOURLY, QUARTER, "first")
        assert hours_asked(QUARTER) == [*[221] * 9, 90 * 24 - 9 * 221]
        _close(connection, HOURLY, Window(tenth.end, QUARTER.end))
        _kill(connection, HOURLY, tenth, "second")
        assert hours_asked(tenth) == [*[23] * 9, 221 - 9 * 23]


@pytest.mark.slow
def test_figures_wait_for_the_aggregates_of_their_own_days_that_are_left_to_a_person(
    database: Database, instance: DagsterInstance
) -> None:
    days = Window(at("2025-01-04T00:00"), at("2025-01-07T00:00"))
    assets = ("analytics_revenue_daily", "analytics_crypto_daily", "revenue_metrics")
    with database.connect(autocommit=True) as connection:
        _close_everything(connection, Window.of_month(date(2025, 1, 1)))
        _kill(connection, "revenue_metrics", days)
        _kill(connection, "analytics_crypto_daily", days)
        _kill(connection, "analytics_revenue_daily", DAY, times=3)
        state = PartitionState(instance, connection, get_settings(), datetime.now(UTC))
        plan = _plan(instance, connection)
        plan.add("daily_aggregates", {asset: state.open(asset, days) for asset in assets})
        asked = {
            r.run_key.split(":after")[0].removeprefix("test:daily_aggregates:") for r in plan.requests() if r.run_key
        }
    assert asked == {
        "analytics_crypto_daily+revenue_metrics:2025-01-04...2025-01-04",
        "analytics_crypto_daily:2025-01-05...2025-01-05",
        "analytics_crypto_daily+revenue_metrics:2025-01-06...2025-01-06",
    }
    assert plan.exhausted == [
        f"analytics_revenue_daily for {DAY} failed 3 times, last in run killed-run; fix the cause, then "
        "analytics-pipeline close --start 2025-01-05T00:00 --end 2025-01-06T00:00"
    ]


@pytest.mark.slow
def test_every_failed_range_is_found_at_the_next_tick_however_old_until_three_attempts_have_failed(
    database: Database, instance: DagsterInstance, environment: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    start = Granularity.MONTH.floor(now - timedelta(days=100))
    environment.setenv("ANALYTICS_START", f"{start:%Y-%m-%d}")
    get_settings.cache_clear()
    gaps = Ticks(build_definitions(get_settings()), instance, "partition_gaps")
    old = Window(start + timedelta(days=3), start + timedelta(days=3, hours=4))
    with database.connect(autocommit=True) as connection:
        for asset in partitioned_assets():
            _close(connection, asset, Window(start, granularity_of(asset).floor(now)))
        assert gaps.tick() == []
        assert gaps.skipped == "Every partition that has ended is closed, or a run for it is under way."
        for attempts in (1, 2, 3):
            _kill(connection, HOURLY, old, f"killed-{attempts}")
            requests = gaps.tick()
            assert len(requests) == (0 if attempts == 3 else 1)
            for request in requests:
                assert request.asset_selection == [AssetKey(HOURLY)]
                assert request.tags["dagster/asset_partition_range_start"] == f"{old.start:%Y-%m-%d-%H:%M}"
                assert request.tags["dagster/asset_partition_range_end"] == f"{old.start:%Y-%m-%d}-03:00"
        assert f"{HOURLY} for {old} failed 3 times, last in run killed-3" in (gaps.skipped or "")


@pytest.mark.slow
def test_what_only_dagster_knew_to_be_closed_is_taken_over_once_and_not_closed_anew(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    january = Window(at("2025-01-01T00:00"), at("2025-02-01T00:00"))
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-25T12:00")
        assert _close_hours(definitions, instance).success
        failed = create_run_for_test(
            instance,
            "hourly_aggregates",
            status=DagsterRunStatus.STARTED,
            tags={"dagster/partition": "2025-01-05-10:00"},
            asset_selection=frozenset({AssetKey(HOURLY)}),
        )
        instance.report_run_failed(failed)
        # As every database was before it had the tables.
        connection.execute("TRUNCATE analytics_partitions, analytics_partition_adoptions")
        connection.execute("UPDATE analytics_schema_migrations SET applied_at = now() WHERE version = 26")

        for _ in range(2):
            state = PartitionState(instance, connection, get_settings(), datetime.now(UTC))
            assert state.closed(HOURLY, january) == without_windows([DAY], [HOUR])
        counts = "SELECT count(closed_at), count(*), sum(failed_attempts) FROM analytics_partitions"
        assert fetch_row(connection, counts) == (23, 24, 1)
        (finding,) = failed_partition_findings(instance, connection, get_settings(), [HOURLY])
        assert f"{HOUR} (run {failed.run_id}, its run had failed or was dead before" in finding.summary
        (asked, *_) = Ticks(definitions, instance, "partition_gaps").tick()
        assert asked.tags["dagster/asset_partition_range_end"] == "2025-01-04-23:00", "what is closed is not asked for"
        # What is recorded in Dagster from now on closes nothing here.
        connection.execute("DELETE FROM analytics_partitions WHERE window_start = %s", [DAY.start])
        state = PartitionState(instance, connection, get_settings(), datetime.now(UTC))
        assert not state.is_closed(HOURLY, Window(DAY.start, DAY.start + timedelta(hours=1)))


@pytest.mark.slow
def test_what_dagster_knew_to_be_closed_in_another_database_is_not_closed_in_a_new_one(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        assert _close_hours(definitions, instance).success
        # As of a database that was made since, and got the same events.
        connection.execute("TRUNCATE analytics_partitions, analytics_partition_adoptions")
        connection.execute("UPDATE analytics_schema_migrations SET applied_at = clock_timestamp()")
        state = PartitionState(instance, connection, get_settings(), datetime.now(UTC))
        assert state.closed(HOURLY, DAY) == []
        (asked, *_) = Ticks(definitions, instance, "partition_gaps").tick()
        assert asked.tags["dagster/asset_partition_range_start"] == "2025-01-01-00:00"


@pytest.mark.slow
def test_what_a_refused_run_had_opened_in_dagsters_record_is_taken_over_as_closed(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        add_event(connection, "2025-01-25T12:00")
        assert _close_hours(definitions, instance).success
        connection.execute("SELECT drop_chunks('analytics_events', '2025-01-16'::timestamptz)")
        assert not _materialize_behind_horizon(definitions, instance)
        connection.execute("TRUNCATE analytics_partitions, analytics_partition_adoptions")
        state = PartitionState(instance, connection, get_settings(), datetime.now(UTC))
        assert state.is_closed(HOURLY, DAY)


@pytest.mark.slow
def test_a_difference_between_the_database_and_dagsters_record_is_reported_both_ways(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    def summary() -> str:
        finding = recorded_partitions_finding(instance, connection, get_settings())
        assert finding.passed == (not finding.remedies)
        return finding.text

    with database.connect(autocommit=True) as connection:
        assert _close_hours(definitions, instance).success
        assert summary() == "Dagster's record and analytics_partitions name the same partitions."
        connection.execute("DELETE FROM analytics_partitions WHERE window_start = %s", [HOUR.start])
        assert f"doesn't know to be closed: {HOURLY} {HOUR}" in summary()
        assert "analytics-pipeline close --start 2025-01-05T10:00 --end 2025-01-05T11:00" in summary()
        _close(connection, HOURLY, Window(HOUR.start, DAY.end + timedelta(hours=1)))
        later = Window(DAY.end, DAY.end + timedelta(hours=1))
        assert f"Dagster has no materialisation of them: {HOURLY} {later}" in summary()
        assert "Remedy: analytics-pipeline adopt" in summary()


@pytest.mark.slow
def test_expired_events_are_no_news_and_events_that_come_behind_the_horizon_are_reported_once(
    database: Database, instance: DagsterInstance, definitions: Definitions, capsys: pytest.CaptureFixture[str]
) -> None:
    late = Ticks(definitions, instance, "late_events")
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T12:00")
        add_event(connection, "2025-01-25T12:00")
        close_span(definitions, get_settings(), instance, Window(at("2025-01-05T12:00"), at("2025-01-05T13:00")))
        connection.execute("SELECT drop_chunks('analytics_events', '2025-01-16'::timestamptz)")
        capsys.readouterr()
        assert late.tick() == []
        assert late.skipped == "No event has changed in a closed partition."
        assert "WARNING" not in capsys.readouterr().err
        add_event(connection, "2025-01-05T12:30")
        for _ in range(3):
            assert late.tick() == []
            assert "1 events from 2025-01-05 12:30 to 2025-01-05 12:30 UTC came in" in (late.skipped or "")
        assert capsys.readouterr().err.count("WARNING") == 1


@pytest.mark.slow
def test_what_sensors_say_is_bounded_however_much_waits(database: Database, instance: DagsterInstance) -> None:
    with database.connect(autocommit=True) as connection:
        _close_everything(connection, QUARTER)
        for day in range(1, 29, 2):
            for month in (1, 2, 3):
                hour = at(f"2025-{month:02}-{day:02}T05:00")
                _kill(connection, HOURLY, Window(hour, hour + timedelta(hours=1)), f"run-{month}-{day}", times=3)
    gaps = Ticks(build_definitions(get_settings()), instance, "partition_gaps")
    with database.connect(autocommit=True) as connection:
        for asset in partitioned_assets():
            rest = Window(QUARTER.end, granularity_of(asset).floor(datetime.now(UTC)))
            _close(connection, asset, rest)
    assert gaps.tick() == []
    assert "failed 3 times, last in run run-1-1" in (gaps.skipped or "")
    assert "and 37 more" in (gaps.skipped or "")
    assert len(gaps.skipped or "") < 2_100
