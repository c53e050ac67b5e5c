"""Closing for good: in and out of order, behind the horizon, and in several sessions at once."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from analytics_pipeline.metrics.answers import users_answer
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import (
    METRIC_TABLES,
    MRR_MOVEMENTS,
    REVENUE_METRICS,
    USER_METRICS,
    close_metric,
    stale_periods,
)
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import HorizonError, refresh
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closed_week import (
    MONTHS,
    WEEK,
    add_change,
    add_login,
    fill,
    is_settled,
    of,
    stale,
)
from analytics_pipeline_tests.metrics.closing import close_figures, close_inputs, days

pytestmark = pytest.mark.slow

needs_sessions = pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")


@pytest.fixture
def closed_alone(connection: Connection) -> Connection:
    """The same for tests that refresh aggregates or need several sessions."""
    fill(connection)
    return connection


def test_closing_day_by_day_leaves_nothing_to_compute_again(connection: Connection) -> None:
    months = {"02-01": days("2025-01-01", "2025-01-31")}
    for number, day in enumerate(WEEK.split(Granularity.DAY)):
        when = f"{day.start:%m-%d}"
        if when in months:
            for aggregate in AGGREGATES:
                if aggregate.granularity is Granularity.MONTH:
                    refresh(connection, aggregate, months[when])
            for table in METRIC_TABLES:
                close_metric(connection, table, Granularity.MONTH, months[when], "EUR")
        add_event(connection, f"2025-{when}T00:00", value="10", user_id=f"u{number}")
        add_change(connection, f"{when}T00:00", "changed" if number else "started", price=f"{10 + number}")
        add_login(connection, f"{when}T23:59", f"v{number}", "user.deleted" if number % 2 else "user.login")
        close_inputs(connection, day)
        close_figures(connection, day)
        assert stale(connection) == {}, when
        assert fetch_row(connection, "SELECT count(*) FROM analytics_metric_changes") == (0,)


def test_users_deleted_twice_are_counted_alike_before_and_after_closing(connection: Connection) -> None:
    add_login(connection, "01-05T10:00", "u1")
    add_login(connection, "01-20T10:00", "u1", "user.deleted")
    add_login(connection, "03-20T10:00", "u1", "user.deleted")
    months = list(MONTHS.split(Granularity.MONTH))
    live = [users_answer(connection, None, month) for month in months]
    assert [(users["totalUsers"], users["churnedUsers"]) for users in live] == [(1, 1), (0, 0), (0, 0)]
    # In any order.
    for month in reversed(months):
        close_inputs(connection, month)
    assert [users_answer(connection, None, month) for month in months] == live


def test_a_day_closed_after_the_day_behind_it_is_noticed_there(connection: Connection) -> None:
    one, two = days("2025-01-29"), days("2025-01-30")
    add_event(connection, "2025-01-30T10:00")
    close_inputs(connection, two)
    close_figures(connection, two)
    add_change(connection, "01-29T10:00", "started")
    close_inputs(connection, one)
    close_figures(connection, one)
    assert stale(connection) == of((MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS), "01-30")
    close_figures(connection, two)
    assert stale(connection) == {}
    mrr = (
        "SELECT start_mrr, end_mrr FROM analytics_mrr_movements "
        "WHERE company_id IS NOT NULL AND granularity = 'day' ORDER BY period_start"
    )
    assert connection.execute(mrr).fetchall() == [(0, 50), (50, 50)]


def _growth(connection: Connection, day: str) -> Decimal | None:
    query = (
        "SELECT revenue_growth FROM analytics_revenue_metrics "
        "WHERE company_id IS NOT NULL AND granularity = 'day' AND period_start = %s"
    )
    growth: Decimal | None = fetch_row(connection, query, [at(f"2025-{day}T00:00")])[0]
    return growth


def test_growth_is_computed_again_when_the_period_before_has_changed(closed_alone: Connection) -> None:
    assert _growth(closed_alone, "01-31") == 0
    add_event(closed_alone, "2025-01-30T11:00", value="10")
    late = days("2025-01-30")
    for name in ("analytics_revenue_hourly", "analytics_revenue_daily"):
        refresh(closed_alone, next(a for a in AGGREGATES if a.name == name), late)
    assert stale(closed_alone) == of((MRR_MOVEMENTS, REVENUE_METRICS, USER_METRICS), "01-30", "01")
    close_metric(closed_alone, REVENUE_METRICS, Granularity.DAY, late, "EUR")
    assert stale(closed_alone)["revenue_metrics"] == ["01-31", "01"]
    close_metric(closed_alone, REVENUE_METRICS, Granularity.DAY, days("2025-01-31"), "EUR")
    assert _growth(closed_alone, "01-31") == -50
    # The change ends there: the day after has the same day before as ever.
    assert stale(closed_alone)["revenue_metrics"] == ["01"]


def test_who_has_churned_is_counted_again_when_others_were_active_the_day_before(closed_alone: Connection) -> None:
    """As many active users as before, all of them known for long, but not the same ones."""
    closed_alone.execute(
        "UPDATE analytics_events SET user_id = 'u2' WHERE user_id = 'u1' AND \"timestamp\"::date = '2025-02-01'"
    )
    close_inputs(closed_alone, days("2025-02-01"))
    assert "02-02" not in stale(closed_alone)["user_metrics"]
    close_metric(closed_alone, USER_METRICS, Granularity.DAY, days("2025-02-01"), "EUR")
    assert "02-02" in stale(closed_alone)["user_metrics"]
    close_metric(closed_alone, USER_METRICS, Granularity.DAY, days("2025-02-02"), "EUR")
    assert "02-03" not in stale(closed_alone)["user_metrics"]
    churned = (
        "SELECT churned_users FROM analytics_user_metrics "
        "WHERE company_id IS NOT NULL AND granularity = 'day' AND period_start = %s"
    )
    assert fetch_row(closed_alone, churned, [at("2025-02-02T00:00")]) == (1,)


def test_behind_the_retention_horizon_what_is_kept_is_all_there_is(closed_alone: Connection) -> None:
    kept = closed_alone.execute("SELECT * FROM analytics_subscriptions ORDER BY valid_from").fetchall()
    month, odd = days("2025-01-01", "2025-01-31"), days("2025-01-10", "2025-02-03")
    before = users_answer(closed_alone, None, month)
    closed_alone.execute("SELECT drop_chunks('analytics_events', '2025-02-20'::timestamptz)")
    add_event(closed_alone, "2025-03-05T10:00")
    with pytest.raises(HorizonError, match="analytics_subscriptions can't be refreshed"):
        update_subscriptions(closed_alone, days("2025-01-29"))
    assert closed_alone.execute("SELECT * FROM analytics_subscriptions ORDER BY valid_from").fetchall() == kept
    with pytest.raises(HorizonError, match="Ask for whole months"):
        users_answer(closed_alone, None, odd)
    with pytest.raises(HorizonError, match="analytics_user_metrics can't be refreshed"):
        close_metric(closed_alone, USER_METRICS, Granularity.DAY, days("2025-01-30"), "EUR")
    again = users_answer(closed_alone, None, month)
    assert {**again, "dataThrough": None} == {**before, "dataThrough": None}
    # What stands on what is kept can be computed again, and is as it was.
    for table in (REVENUE_METRICS, MRR_MOVEMENTS):
        for granularity, window in ((Granularity.DAY, days("2025-01-28", "2025-01-31")), (Granularity.MONTH, month)):
            assert close_metric(closed_alone, table, granularity, window, "EUR").changed == 0
    assert close_metric(closed_alone, USER_METRICS, Granularity.MONTH, month, "EUR").changed == 0


@needs_sessions
def test_a_change_that_is_being_written_is_waited_for(closed_alone: Connection, database: Database) -> None:
    add_change(closed_alone, "02-02T18:00", "ended", "ended")
    with database.connect() as writer, database.connect(autocommit=True) as closer, ThreadPoolExecutor(1) as pool:
        update_subscriptions(writer, days("2025-02-02"))
        computing = pool.submit(close_metric, closer, MRR_MOVEMENTS, Granularity.DAY, WEEK, "EUR")
        _wait_for(lambda: _waits_for_a_lock(closed_alone))
        writer.commit()
        computing.result(timeout=30)
    assert "mrr_movements" not in {p.metric for p in stale_periods(closed_alone) if p.granularity is Granularity.DAY}
    ended = (
        "SELECT churn FROM analytics_mrr_movements "
        "WHERE company_id IS NOT NULL AND granularity = 'day' AND period_start = '2025-02-02+00'"
    )
    assert fetch_row(closed_alone, ended) == (40,)


@needs_sessions
def test_a_change_waits_for_figures_that_are_being_computed_and_makes_them_stale(
    closed_alone: Connection, database: Database
) -> None:
    add_change(closed_alone, "02-02T18:00", "ended", "ended")
    with database.connect() as closer, database.connect(autocommit=True) as writer, ThreadPoolExecutor(1) as pool:
        closer.execute("SELECT 1")
        close_metric(closer, MRR_MOVEMENTS, Granularity.DAY, WEEK, "EUR")
        changing = pool.submit(update_subscriptions, writer, days("2025-02-02"))
        _wait_for(lambda: _waits_for_a_lock(closed_alone))
        closer.commit()
        assert changing.result(timeout=30) == 2
    assert stale(closed_alone)["mrr_movements"] == ["02-02", "02-03", "02", "03"]


@pytest.mark.faults
@needs_sessions
def test_two_closings_of_one_period_take_turns(closed_alone: Connection, database: Database) -> None:
    with database.connect() as first, database.connect(autocommit=True) as second, ThreadPoolExecutor(1) as pool:
        first.execute("SELECT 1")
        close_metric(first, REVENUE_METRICS, Granularity.DAY, WEEK, "EUR")
        other = pool.submit(close_metric, second, REVENUE_METRICS, Granularity.DAY, WEEK, "EUR")
        _wait_for(lambda: _waits_for_a_lock(closed_alone))
        first.commit()
        assert other.result(timeout=30).changed == 0
    assert is_settled(closed_alone)


@needs_sessions
def test_what_takes_events_in_leaves_others_alone_that_read_and_keeps_out_who_changes_what_it_reads(
    database: Database,
) -> None:
    """Before it notes a change, last of all, neither figures nor other tables have to wait for it."""
    day = "'2025-02-01Z', '2025-02-02Z'"
    beside = (f"analytics_close_subscriptions({day})", "analytics_lock_changes(true)", "analytics_lock_noting()")
    waits = (f"analytics_close_users({day})", f"analytics_note_changed_events({day})", "analytics_lock_changes(false)")
    with database.connect() as busy, database.connect(autocommit=True) as other:
        busy.execute("SELECT analytics_lock_events('analytics_users')")
        other.execute("SET lock_timeout = '200ms'")
        for call in beside:
            other.execute(f"SELECT {call}")
        for call in waits:
            with pytest.raises(LockTimeoutError):
                other.execute(f"SELECT {call}")
        busy.rollback()
        for call in waits:
            other.execute(f"SELECT {call}")


def _waits_for_a_lock(connection: Connection) -> bool:
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND state = 'active'"
    )
    return bool(fetch_row(connection, query)[0])


def _wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)
