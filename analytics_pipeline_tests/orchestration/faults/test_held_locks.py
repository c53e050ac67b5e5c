"""Another session holds a lock for longer than is waited: runs fail and name it, and what it held up is made good."""

import time

import pytest

from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.orchestration.faults.platform_run import Platform
from analytics_pipeline_tests.orchestration.faults.strikes import STEPS, Moment, moments, striking, waits_for_lock

pytestmark = [pytest.mark.faults, pytest.mark.endurance]

HELD_AT_MOST_SECONDS = 60
HELD = {
    "ingestion": "LOCK TABLE analytics_events IN SHARE MODE",
    "mail": "LOCK TABLE analytics_outbox IN SHARE MODE",
}


def _waits_with_a_mail_to_send(connection: Connection) -> bool:
    """Tell whether a statement waits once there is something to be mailed: before, the test alone looks there."""
    (has_documents,) = fetch_row(connection, "SELECT EXISTS (SELECT FROM analytics_report_documents)")
    return bool(has_documents) and waits_for_lock(connection)


def test_undisturbed_the_month_comes_to_its_end(platform: Platform, undisturbed: dict[str, object]) -> None:
    undisturbed |= platform.work_undisturbed()


@pytest.mark.parametrize("step", [*STEPS, "mail"])
def test_a_lock_that_somebody_else_holds_for_long_is_named_and_made_good(
    step: str, platform: Platform, environment: pytest.MonkeyPatch, undisturbed: dict[str, object]
) -> None:
    environment.setenv("ANALYTICS_LOCK_TIMEOUT", "1")
    get_settings.cache_clear()
    with platform.database.connect(autocommit=True) as connection:
        hold = HELD.get(step) or moments(connection)[step].hold
    when = _waits_with_a_mail_to_send if step == "mail" else waits_for_lock

    def wait_for_failure() -> None:
        deadline = time.monotonic() + HELD_AT_MOST_SECONDS
        while not platform.failures() and time.monotonic() < deadline:
            time.sleep(0.1)

    with striking(platform.database.url, Moment(when, hold), wait_for_failure):
        platform.work()
    failures = "\n".join(platform.failures())
    assert "Waited 1 s for a lock on" in failures
    assert "pg_terminate_backend(" in failures
    platform.require_as(undisturbed)
