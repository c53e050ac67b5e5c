"""The database's clock decides what has ended; a machine's clock that differs is named, and refused."""

import logging
import re
from datetime import UTC, datetime, timedelta

import pytest

from analytics_pipeline.database import migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.health.check_result import State
from analytics_pipeline.health.server import clock as clock_check
from analytics_pipeline.health.server import judge_clocks
from analytics_pipeline.timescale import clock
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.clock import (
    ClockError,
    Clocks,
    DatabaseClock,
    check_clock,
    database_now,
    read_clocks,
    require_ended,
)
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import materialized_tables, refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.clocks import shift_machine_clock
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event

pytestmark = pytest.mark.slow

HOURLY = next(a for a in AGGREGATES if a.name == "analytics_revenue_hourly")
DAILY = next(a for a in AGGREGATES if a.name == "analytics_revenue_daily")
NOON = datetime(2025, 1, 5, 12, tzinfo=UTC)
SAID = [timedelta(minutes=2), timedelta(minutes=-2), timedelta(minutes=4)]
REFUSED = [timedelta(days=2), timedelta(days=-2), timedelta(minutes=6), timedelta(minutes=-6)]


def _clocks(difference: timedelta, uncertainty: timedelta = timedelta(0)) -> Clocks:
    return Clocks(NOON + difference, NOON, uncertainty)


def _stored(connection: Connection) -> list[tuple[object, ...]]:
    tables = materialized_tables(connection)
    return [
        row
        for aggregate in (HOURLY, DAILY)
        for row in connection.execute(
            f"SELECT bucket FROM {tables[aggregate.name].identifier.as_string(connection)}"
        ).fetchall()
    ]


def test_clocks_that_agree_are_silent(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with database.connect(autocommit=True) as connection:
        before, now, after = database_now(connection), check_clock(connection), database_now(connection)
        assert before <= now <= after
        assert now.tzinfo is UTC
        assert clock_check(connection, database.settings).passed
    assert "clock" not in caplog.text


@pytest.mark.parametrize("by", REFUSED, ids=str)
def test_nothing_is_closed_while_the_clocks_are_more_than_five_minutes_apart(
    database: Database, monkeypatch: pytest.MonkeyPatch, by: timedelta
) -> None:
    with database.connect(autocommit=True) as connection:
        today = Granularity.DAY.floor(database_now(connection))
        add_event(connection, f"{today - timedelta(days=1):%Y-%m-%dT%H:%M}")
        shift_machine_clock(monkeypatch, by)
        for aggregate in (HOURLY, DAILY):
            with pytest.raises(ClockError) as refused:
                refresh(connection, aggregate, Window(today - timedelta(days=2), today + timedelta(days=2)))
        assert _stored(connection) == []
    text = str(refused.value)
    assert f"{datetime.now(UTC):%Y-%m-%d}" in text, "the database's clock"
    assert f"{datetime.now(UTC) + by:%Y-%m-%d}" in text, "this machine's clock"
    apart = "2 days" if abs(by) > timedelta(days=1) else r"(6 minutes|5 minutes and 5\d seconds)"
    assert re.search(f"{apart} {'ahead of' if by > timedelta(0) else 'behind'} the database's", text)
    assert "timedatectl set-ntp true" in text


@pytest.mark.parametrize("by", SAID, ids=str)
def test_a_difference_above_a_minute_is_said_and_the_database_tells_what_has_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, by: timedelta
) -> None:
    with database.connect(autocommit=True) as connection:
        today = Granularity.DAY.floor(database_now(connection))
        add_event(connection, f"{today - timedelta(days=1):%Y-%m-%dT%H:%M}")
        add_event(connection, f"{today:%Y-%m-%dT%H:%M}")
        shift_machine_clock(monkeypatch, by)
        with caplog.at_level(logging.WARNING):
            result = refresh(connection, DAILY, Window(today - timedelta(days=1), today + timedelta(days=1)))
        assert result.window.end == today
        stored = connection.execute(
            f"SELECT bucket FROM {materialized_tables(connection)[DAILY.name].identifier.as_string(connection)}"
        ).fetchall()
        assert stored == [(today - timedelta(days=1),)]
    side = "ahead of" if by > timedelta(0) else "behind"
    assert f"{side} the database's" in caplog.text


def test_what_has_not_ended_by_the_database_is_not_closed_whatever_the_machine_says(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect(autocommit=True) as connection:
        now = database_now(connection)
        shift_machine_clock(monkeypatch, timedelta(minutes=4))
        open_window = Window(now - timedelta(hours=1), now + timedelta(minutes=3))
        with pytest.raises(AnalyticsError, match="has not ended yet"):
            require_ended(connection, "revenue_metrics", open_window)
        require_ended(connection, "revenue_metrics", Window(now - timedelta(hours=2), now - timedelta(hours=1)))


def test_a_slow_network_is_no_difference_and_hides_none() -> None:
    slow = timedelta(minutes=4)
    assert _clocks(timedelta(minutes=4), slow).difference == timedelta(0)
    assert _clocks(timedelta(minutes=-4), slow).difference == timedelta(0)
    assert _clocks(timedelta(minutes=10), slow).difference == timedelta(minutes=6)


def test_the_round_trip_counts_half_for_each_way(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.connect(autocommit=True) as connection:
        now = database_now(connection)
        readings = iter([now - timedelta(minutes=8), now + timedelta(minutes=10)])
        monkeypatch.setattr(clock, "machine_now", lambda: next(readings))
        clocks = read_clocks(connection)
    assert clocks.machine == now + timedelta(minutes=1)
    assert clocks.uncertainty == timedelta(minutes=9)
    assert clocks.difference == timedelta(0)


def test_the_database_clock_goes_on_whatever_happens_to_the_machine_clock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.connect(autocommit=True) as connection:
        running = DatabaseClock(connection)
        shift_machine_clock(monkeypatch, timedelta(days=2))
        first, second = running.now(), running.now()
        assert first <= second
        assert abs(second - database_now(connection)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("difference", "state"),
    [
        (timedelta(seconds=59), State.OK),
        (timedelta(seconds=61), State.WARNING),
        (timedelta(seconds=-299), State.WARNING),
        (timedelta(seconds=301), State.ERROR),
        (timedelta(days=-2), State.ERROR),
    ],
    ids=str,
)
def test_the_check_warns_above_a_minute_and_fails_above_five(difference: timedelta, state: State) -> None:
    finding = judge_clocks(_clocks(difference))
    assert finding.state is state
    assert finding.metadata["seconds apart at least"] == abs(difference).total_seconds()
    if state is not State.OK:
        assert "timedatectl set-ntp true" in finding.remedies


def test_a_migration_says_it_and_is_done(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shift_machine_clock(monkeypatch, timedelta(days=2))
    migrate()
    assert "2 days ahead of the database's" in caplog.text
