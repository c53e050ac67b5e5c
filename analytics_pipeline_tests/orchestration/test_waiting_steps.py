"""A step that waits for another session says so in its run's log, and fails once, not once per retry."""

from datetime import date

import pytest
from dagster import DagsterEventType, DagsterInstance, Definitions

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale import waiting
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event

pytestmark = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")

HOUR = Window(Window.of_month(date(2025, 1, 1)).start, Granularity.HOUR.next(Window.of_month(date(2025, 1, 1)).start))


@pytest.mark.slow
def test_a_step_that_waits_says_so_in_the_run_and_is_not_repeated(
    database: Database, instance: DagsterInstance, definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "SAY_AFTER", 0.3)
    monkeypatch.setenv("ANALYTICS_LOCK_TIMEOUT", "1")
    get_settings.cache_clear()
    with database.connect() as other:
        add_event(other, "2025-01-01T00:10")
        other.commit()
        other.execute("SELECT pg_advisory_lock(7261941, hashtext('analytics_revenue_hourly'))")
        holder = f"held by process {other.info.backend_pid} (user {other.info.user}, application analytics_pipeline"
        with pytest.raises(AnalyticsError, match="Waited 1 s for its turn") as failure:
            close_span(definitions, get_settings(), instance, HOUR)
        assert holder in str(failure.value)
    (run,) = instance.get_runs()
    log = instance.all_logs(run.run_id)
    step = "analytics_revenue_hourly"
    assert [holder in entry.message for entry in log if "Has waited" in entry.user_message] == [True]
    events = [entry.dagster_event.event_type for entry in log if entry.dagster_event and entry.step_key == step]
    assert events.count(DagsterEventType.STEP_START) == 1
    assert DagsterEventType.STEP_UP_FOR_RETRY not in events


def test_a_sensor_waits_for_seconds_only(database: Database) -> None:
    """Dagster ends a tick after a minute."""
    with Timescale().session() as connection:
        assert connection.execute("SHOW lock_timeout").fetchone() == ("20s",)
