"""Another session holds a lock for longer than is waited: runs fail and name it, and what it held up is made good."""

import time

import pytest

from analytics_pipeline.settings import get_settings
from analytics_pipeline_tests.orchestration.faults.platform_run import Platform
from analytics_pipeline_tests.orchestration.faults.strikes import STEPS, Moment, moments, striking, waits_for_lock

pytestmark = [pytest.mark.faults, pytest.mark.endurance]

HELD_AT_MOST_SECONDS = 60
HELD = {
    "ingestion": "LOCK TABLE analytics_events IN SHARE MODE",
    "mail": "LOCK TABLE analytics_outbox IN SHARE MODE",
}


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
    deadline = time.monotonic() + HELD_AT_MOST_SECONDS

    def wait_for_failure() -> None:
        while not platform.failures() and time.monotonic() < deadline:
            time.sleep(0.1)

    with striking(platform.database.url, Moment(waits_for_lock, hold), wait_for_failure):
        platform.work()
    failures = "\n".join(platform.failures())
    assert "Waited 1 s for a lock on" in failures
    assert "pg_terminate_backend(" in failures
    platform.require_as(undisturbed)
