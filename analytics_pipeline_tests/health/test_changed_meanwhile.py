"""What changes while partitions are closed and proved is no failure, and is never forgotten; the rest still is."""

from datetime import date

import pytest

from analytics_pipeline.asset_names import USERS
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.metrics.partitions import changed_windows
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS, update_subscriptions
from analytics_pipeline.metrics.tables import stale_periods
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES, LOGS_DAYS
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import StaleRange, stale_ranges
from analytics_pipeline.timescale.refresh import materialized_tables, refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.metrics.closing import close, days

JANUARY = Window.of_month(date(2025, 1, 1))
BY_NAME = {a.name: a for a in AGGREGATES}
HOURLY, DAILY, MONTHLY = (f"analytics_revenue_{name}" for name in ("hourly", "daily", "monthly"))


def _prove(connection: Connection, subject: str, window: Window = JANUARY) -> CheckResult:
    """Prove a window of an asset as the run that has closed it does."""
    (check,) = [c for c in all_checks() if c.subject == subject and c.judge_window is not None]
    return run_check(check, connection, get_settings(), window)


@pytest.fixture
def closed(connection: Connection) -> Connection:
    """Two companies with payments and logins in January 2025, all of it closed."""
    for day in (5, 6, 20):
        for company in ("acme", "beta"):
            add_event(connection, f"2025-01-{day:02}T10:00", company_id=company, user_id=f"{company} {day}")
    close(connection, JANUARY)
    return connection


@pytest.mark.slow
def test_a_bucket_that_changes_before_its_proof_is_closed_again_and_one_above_it_is_left_to_late_events(
    closed: Connection,
) -> None:
    of_day = """WHERE company_id = 'beta' AND "timestamp" = '2025-01-05 10:00Z'"""
    for change in (
        f"UPDATE analytics_events SET value = 7 {of_day}",
        "SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c; "
        f"UPDATE analytics_events SET value = 8 {of_day}",
        """INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category, value, currency)
           VALUES (gen_random_uuid(), '2025-01-05 10:30Z', 'beta', 'payment.received', 'revenue', 1, 'EUR')""",
        "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('analytics_events') AS c; "
        f"DELETE FROM analytics_events {of_day}",
    ):
        closed.execute(change)
        above = _prove(closed, DAILY)
        assert above.passed, above.text
        assert above.metadata["days changed meanwhile"] == 1
        assert "but for 1 days from 2025-01-05T00:00Z on: their events have changed since they were" in above.summary
        assert stale_ranges(closed, JANUARY, HOURLY), "nobody has closed the hour again"
        hours = _prove(closed, HOURLY)
        assert hours.passed
        assert hours.metadata["hours changed meanwhile"] == 0
        assert not stale_ranges(closed, JANUARY, HOURLY)
        above = _prove(closed, DAILY)
        assert (above.passed, above.metadata["days changed meanwhile"]) == (True, 0)
        assert not stale_ranges(closed, JANUARY, DAILY)


@pytest.mark.slow
def test_a_row_that_differs_without_a_change_fails_beside_those_that_have_changed(closed: Connection) -> None:
    table = materialized_tables(closed)[HOURLY].identifier.as_string(closed)
    closed.execute(f"UPDATE {table} SET total_value = 20 WHERE company_id = 'acme' AND bucket = '2025-01-20 10:00Z'")
    add_event(closed, "2025-01-05T10:30", company_id="beta")
    finding = _prove(closed, HOURLY)
    assert not finding.passed
    assert "company acme, hour 2025-01-20T10:00Z, currency EUR: total_value is 20.00 stored" in finding.summary
    assert "beta" not in finding.summary


@pytest.mark.slow
def test_what_keeps_changing_is_said_and_fails_nothing(closed: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    from analytics_pipeline.timescale import reconcile

    def refresh_and_change(*arguments: object) -> None:
        refresh(*arguments)  # type: ignore[arg-type]
        add_event(closed, "2025-01-05T10:45", company_id="beta")

    monkeypatch.setattr(reconcile, "refresh", refresh_and_change)
    add_event(closed, "2025-01-05T10:30", company_id="beta")
    finding = _prove(closed, HOURLY)
    assert (finding.passed, finding.metadata["hours changed meanwhile"]) == (True, 1)
    count = "SELECT count(*) FROM analytics_events WHERE \"timestamp\" = '2025-01-05 10:45Z'"
    assert closed.execute(count).fetchone() == (3,), "three rounds"


@pytest.mark.slow
@pytest.mark.parametrize(
    # Days of users are computed from events; days behind the newest one with revenue are read in real time.
    ("subject", "day", "changed"),
    [("user_metrics", "2025-01-06", 2), ("revenue_metrics", "2025-01-25", 2)],
)
def test_figures_whose_events_change_before_their_proof_are_left_to_late_events(
    closed: Connection, subject: str, day: str, changed: int
) -> None:
    add_event(closed, f"{day}T11:00", company_id="beta", user_id="beta 5")
    finding = _prove(closed, subject)
    assert finding.passed, finding.text
    assert finding.metadata["days changed meanwhile"] == changed, "the day, and the one that is compared with it"
    assert f"but for 2 days from {day} on: what they stand on has changed" in finding.summary
    closed.execute(
        f"UPDATE analytics_{subject} SET total_users = 77 WHERE company_id = 'acme' AND period_start = '2025-01-20'"
    )
    finding = _prove(closed, subject)
    assert not finding.passed
    assert "acme, 2025-01-20: total_users is 77 stored and 3 due" in finding.summary


@pytest.mark.slow
def test_what_was_never_closed_before_the_first_period_explains_no_difference(closed: Connection) -> None:
    for subject, granularity in (("revenue_metrics_monthly", "month"), ("user_metrics", "day")):
        assert _prove(closed, subject).passed
        closed.execute(
            f"UPDATE analytics_{subject.removesuffix('_monthly')} SET total_users = 77 "
            "WHERE granularity = %s AND period_start < '2025-01-06'",
            [granularity],
        )
        assert not _prove(closed, subject).passed


@pytest.mark.slow
def test_days_of_users_and_subscriptions_that_a_refresh_has_overtaken_are_read_again(closed: Connection) -> None:
    """The log that tells late events about their days is cleared by whoever refreshes the aggregate it belongs to."""
    add_event(closed, "2025-01-05T09:00", company_id="beta", user_id="new")
    refresh(closed, BY_NAME[LOGS_DAYS], days("2025-01-05"))
    assert not stale_ranges(closed, JANUARY, LOGS_DAYS)
    assert changed_windows(closed) == {USERS: [days("2025-01-05")], SUBSCRIPTIONS: [days("2025-01-05")]}
    assert _prove(closed, USERS).passed
    update_users(closed, days("2025-01-05"))
    assert changed_windows(closed) == {SUBSCRIPTIONS: [days("2025-01-05")]}
    update_subscriptions(closed, JANUARY)
    assert changed_windows(closed) == {}
    assert any(p.metric == "user_metrics" and p.granularity is Granularity.DAY for p in stale_periods(closed))


@pytest.mark.slow
def test_an_event_that_comes_between_the_reading_of_the_log_and_the_refresh_is_noted(
    closed: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analytics_pipeline.timescale import refresh as module

    def read_and_change(connection: Connection, window: Window, aggregate: str) -> list[StaleRange]:
        found = stale_ranges(connection, window, aggregate)
        add_event(connection, "2025-01-06T09:00", company_id="beta", user_id="new")
        return found

    monkeypatch.setattr(module, "stale_ranges", read_and_change)
    refresh(closed, BY_NAME[LOGS_DAYS], days("2025-01-06"))
    assert changed_windows(closed)[USERS] == [days("2025-01-06")]
    assert any(p.window == days("2025-01-06") for p in stale_periods(closed))


@pytest.mark.slow
def test_histories_that_differ_without_a_change_stop_the_run_that_has_read_them(closed: Connection) -> None:
    for subject, tamper, stated in (
        (
            USERS,
            "UPDATE analytics_users SET first_seen = first_seen + interval '1 minute' WHERE user_id = 'acme 20'",
            "user acme 20: 2025-01-20 10:01:00Z first seen then, where no event says so",
        ),
        (
            "subscriptions",
            """INSERT INTO analytics_subscriptions
               SELECT 'acme', 's', '2025-01-20 10:00Z', NULL, 'u', 'active', 10, 'EUR', 'month', 1, 1, 10, true,
                      'subscription.started', gen_random_uuid(), 'u', false, NULL""",
            "acme, subscription s: the change of 2025-01-20 10:00:00Z is stored, but not in the events",
        ),
    ):
        assert _prove(closed, subject).passed
        closed.execute(tamper)
        finding = _prove(closed, subject)
        assert stated in finding.summary
        assert "close --start 2025-01-20 --end 2025-01-21" in finding.text
        assert _prove(closed, subject, days("2025-01-05", "2025-01-06")).passed, "another window"
