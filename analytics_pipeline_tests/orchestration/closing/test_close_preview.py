"""``close --dry-run``: what a close would do, how long it may take, and why some of it not; nothing changes."""

import json

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance, Definitions

from analytics_pipeline.cli import main
from analytics_pipeline.metrics.partitions import begin_attempt, closing_runs, record_failure
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.close_preview import preview_close
from analytics_pipeline.orchestration.closing.jobs import assets_of
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

DAYS = Window(at("2025-01-05T00:00"), at("2025-01-07T12:00"))
FIRST = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
HOURLY = "analytics_revenue_hourly"


def _record(connection: Connection, instance: DagsterInstance) -> list[object]:
    partitions = connection.execute("SELECT * FROM analytics_partitions ORDER BY asset, window_start").fetchall()
    adoptions = connection.execute("SELECT count(*) FROM analytics_partition_adoptions").fetchall()
    horizon = connection.execute("SELECT * FROM analytics_retention_horizon").fetchall()
    return [partitions, adoptions, horizon, instance.get_runs_count()]


@pytest.mark.slow
def test_a_dry_run_says_what_closing_would_do_and_changes_nothing(
    database: Database, definitions: Definitions, instance: DagsterInstance
) -> None:
    settings = get_settings()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:00")
        # Of a database in which nothing was closed there is nothing to estimate by.
        before = _record(connection, instance)
        preview = preview_close(settings, instance, connection, DAYS)
        assert [(r.job, r.partitions, r.open, r.stale, r.events, r.seconds) for r in preview.ranges] == [
            ("hourly_aggregates", 60, 60, 0, 1, None),
            ("daily_aggregates", 2, 2, 0, 1, None),
        ]
        assert preview.seconds is None
        assert _record(connection, instance) == before

        close_span(definitions, settings, instance, FIRST)
        add_event(connection, "2025-01-05T11:30")
        failed = Window(at("2025-01-06T03:00"), at("2025-01-06T04:00"))
        begin_attempt(connection, HOURLY, Granularity.HOUR, failed, "a run")
        record_failure(connection, HOURLY, failed, "the disk was full", "a run")
        before = _record(connection, instance)
        preview = preview_close(settings, instance, connection, DAYS)
        assert [(r.partitions, r.open, r.stale) for r in preview.ranges] == [(60, 36, 1), (2, 1, 1)]
        assert preview.failed == [f"{HOURLY} for {failed} failed once, last in run a run: the disk was full"]
        assert preview.left_out == [
            "days of [2025-01-07T00:00Z, 2025-01-08T00:00Z) reach beyond the span",
            "months of [2025-01-01T00:00Z, 2025-02-01T00:00Z) reach beyond the span",
        ]
        # The run of one day took so long, of two it may be twice as long.
        (run,) = closing_runs(connection, assets_of("daily_aggregates"))
        assert run.partitions == 1
        assert preview.ranges[1].seconds == 2 * run.seconds > 0

        result = CliRunner().invoke(main, ["close", "--start", "2025-01-05", "--end", "2025-01-07T12:00", "--dry-run"])
        assert result.output.splitlines()[-1].startswith("2 runs, about ")
        assert result.output.splitlines()[-1].endswith(" s. Nothing was changed.")
        report = json.loads(CliRunner().invoke(main, ["close", "--month", "2025-01", "--dry-run", "--json"]).output)
        assert [planned["job"] for planned in report["ranges"]] == [
            "hourly_aggregates",
            "daily_aggregates",
            "monthly_aggregates",
            "monthly_reports",
        ]
        assert _record(connection, instance) == before


def test_a_dry_run_behind_the_horizon_is_refused_as_closing_is(
    database: Database, definitions: Definitions, instance: DagsterInstance
) -> None:
    with database.connect(autocommit=True) as connection:
        connection.execute(
            "INSERT INTO analytics_retention_horizon (events_from) VALUES ('2025-01-06') ON CONFLICT DO NOTHING"
        )
    result = CliRunner().invoke(main, ["close", "--month", "2025-01", "--dry-run"])
    assert result.exit_code == 1
    assert "the retention horizon" in result.output
    assert "Ask for a window that starts at 2025-01-06" in result.output
