"""Partitions are closed through Dagster: exactly, in order, and only if they are right."""

import json
import re
import subprocess
import sys
import time
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
from dagster import AssetKey, DagsterEventType, DagsterInstance, DagsterRunStatus, Definitions, ExecuteInProcessResult
from pypdf import PdfReader

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.close import ClosedRange, close_span
from analytics_pipeline.orchestration.instance import project_file
from analytics_pipeline.orchestration.partition_definitions import range_runs
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.reconcile import reconcile
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.timescale.test_catalog import without_a_column

JANUARY = Window.of_month(date(2025, 1, 1))
DAY = Window.of_dates(date(2025, 1, 5), date(2025, 1, 5))
RANGE = {
    "dagster/asset_partition_range_start": "2025-01-05-00:00",
    "dagster/asset_partition_range_end": "2025-01-05-23:00",
}


def _close(definitions: Definitions, instance: DagsterInstance, span: Window) -> list[ClosedRange]:
    return close_span(definitions, get_settings(), instance, span)


def _run(definitions: Definitions, instance: DagsterInstance, job: str, **options: object) -> ExecuteInProcessResult:
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)  # type: ignore[arg-type]


@pytest.mark.slow
def test_one_partition_refreshes_its_hour_and_no_other(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        for hour in ("09:30", "10:00", "10:59", "11:00"):
            add_event(connection, f"2025-01-05T{hour}")
        result = _run(definitions, instance, "hourly_aggregates", partition_key="2025-01-05-10:00")
        assert result.success
        table = materialized_tables(connection)["analytics_revenue_hourly"].identifier.as_string(connection)
        assert connection.execute(f"SELECT bucket, event_count FROM {table}").fetchall() == [
            (at("2025-01-05T10:00"), 2)
        ]
    (materialization,) = result.asset_materializations_for_node("analytics_revenue_hourly")
    metadata = {name: value.value for name, value in materialization.metadata.items()}
    assert metadata["window"] == "[2025-01-05T10:00Z, 2025-01-05T11:00Z)"
    assert (metadata["partition events"], metadata["dagster/partition_row_count"]) == (2, 1)
    assert str(metadata["run"]).startswith("1 rows of 2 events refreshed in ")
    assert set(metadata) >= {"already up to date", "invalidated before"}


@pytest.mark.slow
def test_a_range_is_one_run_and_each_partition_gets_its_own_counts(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        add_event(connection, "2025-01-05T10:20")
    assert _run(definitions, instance, "hourly_aggregates", tags=RANGE).success
    assert instance.get_runs_count() == 1
    key = AssetKey("analytics_revenue_hourly")
    assert len(instance.get_materialized_partitions(key)) == 24
    events = instance.fetch_materializations(key, limit=24).records
    counts = {r.partition_key: r.asset_materialization.metadata["partition events"].value for r in events}  # type: ignore[union-attr]
    assert counts == {f"2025-01-05-{hour:02}:00": 2 if hour == 10 else 0 for hour in range(24)}
    # What the UI takes for one event, and shows one of.
    assert len({int(record.timestamp * 1000) for record in events}) == 24


@pytest.mark.slow
def test_closing_a_month_closes_every_granularity_in_order_and_proves_it(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        for day in range(1, 32):
            add_event(connection, f"2025-01-{day:02}T12:00", value="10.01", user_id=f"u{day % 7}")
            add_event(connection, f"2025-01-{day:02}T13:00", "crypto.sent", category="crypto", currency="BTC")
        closed = _close(definitions, instance, JANUARY)
        assert [(run.job, run.partitions) for run in closed] == [
            ("hourly_aggregates", 744),
            ("daily_aggregates", 31),
            ("monthly_aggregates", 1),
            ("monthly_reports", 1),
        ]
        assert all(reconcile(connection, aggregate, JANUARY).agrees for aggregate in AGGREGATES)
        users = connection.execute("SELECT count(*), min(first_seen) FROM analytics_users").fetchone()
        assert users == (7, at("2025-01-01T12:00"))
    (path,) = closed[-1].documents
    text = "".join(page.extract_text() for page in PdfReader(path).pages)
    assert "310.31" in text
    stated = re.search(
        r"Metrics, and days with events, that are not closed\s*0.*Figures that do not reconcile\s*0", text, re.DOTALL
    )
    assert stated, "the report says what its data are judged by"


@pytest.mark.slow
def test_a_late_event_is_in_the_figures_once_its_partitions_are_closed_again(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-31T12:00", value="400")
        _close(definitions, instance, JANUARY)
        add_event(connection, "2025-01-31T11:00", value="0.05")
        _close(definitions, instance, JANUARY)
        table = materialized_tables(connection)["analytics_revenue_monthly"].identifier.as_string(connection)
        assert str(connection.execute(f"SELECT total_value FROM {table}").fetchall()[0][0]) == "400.05"


@pytest.mark.slow
def test_what_may_pass_by_itself_is_tried_again_and_a_real_error_is_not(
    database: Database, instance: DagsterInstance, definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def attempts(result: ExecuteInProcessResult) -> int:
        return sum(event.event_type is DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)

    with monkeypatch.context() as outage:
        outage.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        get_settings.cache_clear()
        down = _run(definitions, instance, "hypertable_setup")
    get_settings.cache_clear()
    assert (down.success, attempts(down)) == (False, 1)
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP MATERIALIZED VIEW analytics_event_volume_hourly CASCADE")
    broken = _run(definitions, instance, "hourly_aggregates", partition_key="2025-01-05-10:00")
    assert (broken.success, attempts(broken)) == (False, 0)


@pytest.mark.faults
def test_a_killed_run_can_simply_be_repeated(database: Database, instance: DagsterInstance) -> None:
    with database.connect(autocommit=True) as connection:
        for day in range(1, 32):
            add_event(connection, f"2025-01-{day:02}T12:00", value="10.01", user_id=f"u{day}")
        command = [sys.executable, "-m", "analytics_pipeline", "close", "--start", "2025-01-01", "--end", "2025-02-01"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not instance.get_runs_count():
            assert run.poll() is None, "it ended before a run began"
            time.sleep(0.02)
        time.sleep(0.3)
        run.kill()
        run.wait()
        assert instance.get_runs(limit=1)[0].status is not DagsterRunStatus.SUCCESS
        subprocess.run(command, check=True, capture_output=True)
        assert all(reconcile(connection, aggregate, JANUARY).agrees for aggregate in AGGREGATES)
        total = connection.execute("SELECT total_value FROM analytics_revenue_monthly").fetchall()
        assert [str(value) for (value,) in total] == ["310.31"]


@pytest.mark.slow
def test_rows_that_differ_from_the_events_stop_the_run_and_name_the_company(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10", company_id="beta")
        closed = _close(definitions, instance, DAY)
        table = materialized_tables(connection)["analytics_revenue_hourly"].identifier.as_string(connection)
        connection.execute(f"UPDATE {table} SET total_value = total_value * 2")
        with pytest.raises(AnalyticsError, match=r"window_reconciles of analytics_revenue_hourly: 2 rows .*beta"):
            _close(definitions, instance, DAY)
        failed = connection.execute(
            "SELECT subject, check_name, window_start FROM analytics_check_results WHERE NOT passed"
        ).fetchall()
    assert failed == [("analytics_revenue_hourly", "reconciles_with_events", DAY.start)]
    assert instance.get_runs_count() == len(closed) + 1, "the days must not be closed after their hours have failed"


@pytest.mark.slow
def test_a_window_before_the_horizon_is_refused_at_once_and_says_why(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-15T10:10")
        add_event(connection, "2025-01-17T10:10")
        days = Window.of_dates(date(2025, 1, 15), date(2025, 1, 17))
        closed = _close(definitions, instance, days)
        before = connection.execute("SELECT * FROM analytics_revenue_hourly ORDER BY bucket").fetchall()
        connection.execute("SELECT drop_chunks('analytics_events', '2025-01-16'::timestamptz)")
        with pytest.raises(AnalyticsError, match=r"the retention horizon.* would erase the history"):
            _close(definitions, instance, days)
        assert connection.execute("SELECT * FROM analytics_revenue_hourly ORDER BY bucket").fetchall() == before
        assert instance.get_runs_count() == len(closed), "it is refused before there is a run"


@pytest.mark.slow
def test_closing_on_an_unknown_timescaledb_is_refused_in_one_sentence(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        with without_a_column(connection), pytest.raises(AnalyticsError, match="lacks what this program reads"):
            _close(definitions, instance, Window(at("2025-01-05T10:00"), at("2025-01-05T11:00")))
        assert materialized_tables(connection)["analytics_revenue_hourly"].watermark is None


def test_a_long_span_is_cut_into_bounded_runs_without_gaps() -> None:
    span = Window.of_dates(date(2023, 1, 1), date(2025, 12, 31))
    for granularity, runs in ((Granularity.HOUR, 3), (Granularity.DAY, 3), (Granularity.MONTH, 3)):
        windows = range_runs(span, granularity)
        assert len(windows) == runs
        assert (windows[0].start, windows[-1].end) == (span.start, span.end)
        assert all(before.end == after.start for before, after in pairwise(windows))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (
            "2024-12-31T00:00",
            "2025-01-02T00:00",
            r"before the first partition, 2025-01-01: .*ANALYTICS_START=2024-12-01",
        ),
        ("2025-01-01T00:30", "2025-01-02T00:00", "full hours"),
        ("2100-01-01T00:00", "2100-01-02T00:00", "has ended yet"),
    ],
)
def test_a_span_that_cannot_be_closed_is_refused_with_the_remedy(
    database: Database, instance: DagsterInstance, definitions: Definitions, start: str, end: str, message: str
) -> None:
    with pytest.raises(AnalyticsError, match=message):
        _close(definitions, instance, Window(at(start), at(end)))
    assert instance.get_runs_count() == 0


@pytest.mark.slow
def test_part_of_a_day_closes_its_hours_only(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    closed = _close(definitions, instance, Window(at("2025-01-05T06:00"), at("2025-01-06T03:00")))
    assert [(run.job, run.partitions) for run in closed] == [("hourly_aggregates", 21)]


@pytest.mark.daemon
@pytest.mark.parametrize(
    ("command", "partitions"),
    [
        (["asset", "materialize", "--select", "analytics_revenue_hourly", "--partition", "2025-01-05-10:00"], 1),
        (["job", "execute", "-j", "hourly_aggregates", "--tags", json.dumps(RANGE)], 24),
    ],
    ids=["a partition", "a range"],
)
def test_the_dagster_command_line_closes(
    database: Database, instance: DagsterInstance, command: list[str], partitions: int
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:10")
        full = [sys.executable, "-m", "dagster", *command, "-m", "analytics_pipeline.definitions"]
        run = subprocess.run(full, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        table = materialized_tables(connection)["analytics_revenue_hourly"].identifier.as_string(connection)
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
    assert len(instance.get_materialized_partitions(AssetKey("analytics_revenue_hourly"))) == partitions


@pytest.mark.slow
def test_the_setup_asset_migrates_and_its_checks_pass(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    result = _run(definitions, instance, "hypertable_setup")
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert set(checks) >= {"timescaledb_extension", "hypertable_layout"}
    assert all(checks.values())


@pytest.mark.slow
def test_a_lost_unique_key_is_reported_with_the_statement_that_restores_it(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute("DROP INDEX analytics_events_event_id_timestamp_key")
    result = _run(definitions, instance, "hypertable_setup")
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["hypertable_layout"]
    assert "CREATE UNIQUE INDEX" in (failed[0].description or "")


@pytest.mark.slow
def test_loading_the_definitions_touches_no_database(dagster_home: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ANALYTICS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    load = (
        "from analytics_pipeline.definitions import build_definitions, get_settings; build_definitions(get_settings())"
    )
    command = [sys.executable, "-c", load]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.daemon
def test_a_dagster_process_of_its_own_can_load_the_code_location(dagster_home: Path) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", str(project_file("workspace.yaml"))]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=dagster_home)
    assert run.returncode == 0, run.stderr
    assert "All code locations passed validation" in run.stdout + run.stderr
