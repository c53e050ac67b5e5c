"""A new Dagster storage is given what the database has closed, and nothing is computed again."""

import pytest
from dagster import AssetKey, DagsterInstance, Definitions

from analytics_pipeline.metrics.partitions import begin_attempt
from analytics_pipeline.orchestration.adopt import adopt_closed
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.jobs import assets_of
from analytics_pipeline.orchestration.closing.recorded_partitions import recorded_partitions_finding
from analytics_pipeline.settings import get_settings
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

DAY = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
HOURLY = "analytics_revenue_hourly"


@pytest.mark.slow
def test_what_is_closed_is_marked_in_a_new_instance_and_nothing_is_computed_again(
    database: Database, definitions: Definitions, instance: DagsterInstance
) -> None:
    settings = get_settings()
    with database.connect(autocommit=True) as connection:
        add_event(connection, "2025-01-05T10:00")
        close_span(definitions, settings, instance, DAY)
        # An attempt without a proof: open, whatever Dagster once said.
        begin_attempt(connection, HOURLY, Granularity.HOUR, Window(DAY.start, at("2025-01-05T01:00")), "a killed run")
        proofs = connection.execute("SELECT asset, window_start, closed_at FROM analytics_partitions").fetchall()

        instance.wipe()
        finding = recorded_partitions_finding(instance, connection, settings)
        assert not finding.passed
        assert finding.remedies == ("analytics-pipeline adopt",)
        marked = adopt_closed(instance, connection, settings)

        assert {asset: count for asset, count in marked.items() if count} == {
            HOURLY: 23,
            "analytics_event_volume_hourly": 24,
            **dict.fromkeys(assets_of("daily_aggregates"), 1),
        }
        keys = instance.get_materialized_partitions(AssetKey(HOURLY))
        assert keys == {f"2025-01-05-{hour:02}:00" for hour in range(1, 24)}
        assert recorded_partitions_finding(instance, connection, settings).passed
        event = instance.get_latest_materialization_event(AssetKey("revenue_metrics"))
        assert event is not None
        assert {closed_at.timestamp() for asset, _, closed_at in proofs if asset == "revenue_metrics"} == {
            event.timestamp
        }
        # Repeated, it adds nothing; no run was made, and no proof is another.
        assert sum(adopt_closed(instance, connection, settings).values()) == 0
        assert instance.get_runs_count() == 0
        assert (
            proofs == connection.execute("SELECT asset, window_start, closed_at FROM analytics_partitions").fetchall()
        )
