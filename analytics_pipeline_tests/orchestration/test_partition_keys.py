"""Partitions that don't exist are refused wherever they are asked for, before anything is closed."""

from dataclasses import dataclass

import pytest
from click.testing import CliRunner
from dagster import DagsterEventType, DagsterInstance, Definitions

from analytics_pipeline.cli import main
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.orchestration.closing.failed_partitions import failed_partition_findings
from analytics_pipeline.orchestration.closing.jobs import partitioned_assets
from analytics_pipeline.orchestration.runs.descriptions import describe_failure
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

FIRST, LAST, ONE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end", "dagster/partition"
NO_KEY = "is no key of a partition, which are the starts of partitions in UTC such as"


@dataclass(frozen=True)
class Case:
    job: str
    tags: dict[str, str]
    stated: str


CASES = [
    Case("hourly_aggregates", {FIRST: "2025-01-05-10:30", LAST: "2025-01-05-12:00"}, f"2025-01-05-10:30 {NO_KEY}"),
    Case("hourly_aggregates", {FIRST: "2025-01-05-10:00", LAST: "2025-01-05-12:30"}, f"2025-01-05-12:30 {NO_KEY}"),
    Case("hourly_aggregates", {ONE: "2025-01-05-10:30"}, f"2025-01-05-10:30 {NO_KEY}"),
    Case("hourly_aggregates", {FIRST: "2025-1-5-10:00", LAST: "2025-01-05-12:00"}, f"2025-1-5-10:00 {NO_KEY}"),
    Case("hourly_aggregates", {FIRST: "2025-01-05-12:00", LAST: "2025-01-05-10:00"}, "ends before it starts"),
    Case("monthly_aggregates", {FIRST: "2025-01-15", LAST: "2025-03-01"}, f"2025-01-15 {NO_KEY}"),
    Case("monthly_reports", {ONE: "2025-01-15"}, f"2025-01-15 {NO_KEY}"),
    Case("hourly_aggregates", {FIRST: "2024-12-31-22:00", LAST: "2025-01-05-10:00"}, "before the first partition"),
    Case("daily_aggregates", {FIRST: "2024-12-31", LAST: "2025-01-05"}, "before the first partition, 2025-01-01"),
]


@pytest.mark.slow
def test_a_run_over_partitions_that_do_not_exist_fails_at_once_and_counts_for_nothing(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:40")
        for case in CASES:
            _assert_refused(definitions, instance, case)
        # What was refused has left nothing open.
        findings = failed_partition_findings(instance, connection, get_settings(), partitioned_assets())
        assert [finding.summary for finding in findings if not finding.passed] == []
        assert connection.execute("SELECT FROM analytics_partitions").fetchall() == []


def _assert_refused(definitions: Definitions, instance: DagsterInstance, case: Case) -> None:
    job = definitions.resolve_job_def(case.job)
    result = job.execute_in_process(instance=instance, raise_on_error=False, tags=case.tags)
    assert not result.success, case
    assert result.get_asset_materialization_events() == []
    assert DagsterEventType.STEP_UP_FOR_RETRY not in {event.event_type for event in result.all_events}
    stated = describe_failure(result.all_events) or ""
    assert stated.startswith("Nothing of ")
    assert case.stated in stated, stated


@pytest.mark.parametrize(
    ("start", "stated"),
    [
        ("2025-01-05-10:30", "'2025-01-05-10:30' is no day or time"),
        ("2025-01-05T10:30", "must begin and end on full hours (UTC)"),
        ("2024-12-31T10:00", "begins before the first partition, 2025-01-01"),
    ],
)
def test_the_command_refuses_what_is_no_boundary(dagster_home: object, start: str, stated: str) -> None:
    result = CliRunner().invoke(main, ["close", "--start", start, "--end", "2025-01-06"])
    assert result.exit_code != 0
    assert stated in " ".join(result.output.split())


def test_users_and_subscriptions_are_closed_in_whole_days(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for update in (update_users, update_subscriptions):
            with pytest.raises(AnalyticsError, match="is closed in whole days, not for"):
                update(connection, Window(at("2025-01-05T10:30"), at("2025-01-06")))
