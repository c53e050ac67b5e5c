"""Closing a partition judges the rules over its metrics, shows what fires, and blocks nothing."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    AssetKey,
    DagsterInstance,
    Definitions,
    TableMetadataValue,
    TableRecord,
)

from analytics_pipeline.alerts.alert_check import CHECK
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

TODAY = datetime.now(UTC).date()
RULES = """
version = 1

[[rules]]
id = "low"
metric = "total_revenue"
granularity = "day"
comparison = "below"
value = "100 EUR"
severity = "error"
recipients = ["ops@example.com"]
"""


def _day(ago: int) -> str:
    return f"{TODAY - timedelta(days=ago)}"


@pytest.fixture
def rules(database: Database, dagster_home: Path, environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file of rules; partitions begin last month."""
    path = tmp_path / "alerts.toml"
    path.write_text(RULES, encoding="utf-8")
    start = (TODAY.replace(day=1) - timedelta(days=1)).replace(day=1)
    environment.setenv("ANALYTICS_START", f"{start}")
    get_settings.cache_clear()
    return path


def _close(definitions: Definitions, instance: DagsterInstance, first: str, last: str) -> AssetCheckEvaluation:
    """Close days of revenue_metrics and return what the check found; the run has to succeed."""
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        raise_on_error=False,
        asset_selection=[AssetKey("revenue_metrics")],
        tags={tags.PARTITION_RANGE_START: first, tags.PARTITION_RANGE_END: last},
    )
    assert result.success
    (found,) = (check for check in result.get_asset_check_evaluations() if check.check_name == CHECK)
    return found


def _records(found: AssetCheckEvaluation) -> list[TableRecord]:
    table = found.metadata["firing rules"]
    assert isinstance(table, TableMetadataValue)
    return list(table.records)


def _told(database: Database) -> list[str]:
    with database.connect() as connection:
        rows = connection.execute("SELECT subject FROM analytics_outbox ORDER BY outbox_id").fetchall()
    return [subject for (subject,) in rows]


@pytest.mark.slow
def test_a_run_over_partitions_shows_and_notifies_of_what_fires_in_the_latest_closed_one(
    rules: Path, database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        for ago, value in ((4, "150"), (3, "50"), (2, "60"), (1, "150")):
            add_event(connection, f"{_day(ago)}T12:00", value=value)
    found = _close(definitions, instance, _day(4), _day(2))
    assert (found.passed, found.severity, found.blocking) == (False, AssetCheckSeverity.ERROR, False)
    assert f"low: all companies total_revenue 60.00 EUR (below 100 EUR) {_day(2)}" in str(found.description)
    assert [record.data["period"] for record in _records(found)] == [_day(2)]
    assert _told(database) == [f"[error] low: all companies total_revenue 60.00 EUR (below 100 EUR) {_day(2)}"]
    # The next day is well, and an old one that is closed again brings nothing.
    assert _close(definitions, instance, _day(1), _day(1)).passed
    assert _close(definitions, instance, _day(3), _day(3)).passed
    assert _told(database)[1:] == [f"[resolved] low: all companies total_revenue 150.00 EUR (below 100 EUR) {_day(1)}"]


@pytest.mark.slow
def test_a_broken_file_fails_the_check_and_not_the_run(
    rules: Path, database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    rules.write_text(RULES.replace("total_revenue", "total_revenu"), encoding="utf-8")
    found = _close(definitions, instance, _day(1), _day(1))
    assert (found.passed, found.severity) == (False, AssetCheckSeverity.ERROR)
    assert "rule 'low', metric: there is no figure 'total_revenu' (did you mean total_revenue" in str(found.description)


def test_every_metric_asset_has_the_check(definitions: Definitions) -> None:
    checks = [key for key in definitions.resolve_asset_graph().asset_check_keys if key.name == CHECK]
    assert {key.asset_key.to_user_string() for key in checks} == {
        table.asset(granularity) for table in METRIC_TABLES for granularity in GRANULARITIES
    }
