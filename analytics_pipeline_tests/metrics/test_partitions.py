"""What is closed stands in the database: attempts, proofs and failures, told as stretches of time."""

from datetime import date, timedelta

import pytest

from analytics_pipeline.health.access import reader_access
from analytics_pipeline.metrics.partitions import (
    DeadRun,
    begin_attempt,
    closed_ranges,
    failed_ranges,
    mark_final,
    record_closed,
    record_deaths,
    record_failure,
)
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window, common_windows, without_windows
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at

HOURLY = "analytics_revenue_hourly"
USERS = "analytics_users"
DAY = Window(at("2025-01-05T00:00"), at("2025-01-06T00:00"))
HOUR = Window(at("2025-01-05T10:00"), at("2025-01-05T11:00"))


def _row(connection: Connection, window: Window) -> tuple[object, ...]:
    return fetch_row(
        connection,
        "SELECT closed_at IS NOT NULL, rows, events, failed_attempts, run_id, failure FROM analytics_partitions "
        "WHERE asset = %s AND window_start = %s",
        [HOURLY, window.start],
    )


def _begin(connection: Connection, window: Window, run: str, asset: str = HOURLY) -> None:
    granularity = Granularity.HOUR if asset == HOURLY else Granularity.DAY
    begin_attempt(connection, asset, granularity, window, run)


def test_a_proof_is_counted_from_what_is_stored_and_gives_the_same_row_when_repeated(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for minute in ("10:10", "10:20"):
            add_event(connection, f"2025-01-05T{minute}")
        aggregate = next(a for a in AGGREGATES if a.name == HOURLY)
        for run in ("first", "second"):
            _begin(connection, DAY, run)
            refresh(connection, aggregate, DAY)
            assert record_closed(connection, HOURLY, DAY, run) == 24
            assert _row(connection, HOUR) == (True, 1, 2, 0, run, None)
        (before,) = fetch_row(connection, "SELECT array_agg(p ORDER BY p) FROM analytics_partitions AS p")
        assert record_closed(connection, HOURLY, DAY, "second") == 0
        assert fetch_row(connection, "SELECT array_agg(p ORDER BY p) FROM analytics_partitions AS p") == (before,)
        assert fetch_row(connection, "SELECT sum(rows), sum(events), count(*) FROM analytics_partitions") == (1, 2, 24)


def test_what_a_person_has_ended_is_no_attempt_however_many_were_killed_at_once(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        for run in ("failed", "killed", "killed too", "worker"):
            _begin(connection, HOUR, run)
            if run == "failed":
                record_failure(connection, HOURLY, HOUR, "a reason", run)
        dead = [DeadRun(run, f"{run} has died", is_taken_back=run != "worker") for run in ("killed", "killed too")]
        record_deaths(connection, [*dead, DeadRun("worker", "worker has died", is_taken_back=False)])
        assert _row(connection, HOUR) == (False, None, None, 2, "worker", "worker has died")
        # Marked again, it says the same.
        record_deaths(connection, dead)
        assert _row(connection, HOUR) == (False, None, None, 2, "worker", "worker has died")


def test_an_attempt_counts_as_failed_until_it_is_proved_once_for_each_run(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        _begin(connection, HOUR, "closed")
        record_closed(connection, HOURLY, HOUR, "closed")
        for attempts, run in enumerate(("killed", "failed"), start=1):
            _begin(connection, HOUR, run)
            # The step is tried again within its run.
            _begin(connection, HOUR, run)
            assert _row(connection, HOUR) == (False, None, None, attempts, run, None)
        record_failure(connection, HOURLY, HOUR, "no space\nleft", "failed")
        assert _row(connection, HOUR) == (False, None, None, 2, "failed", "no space left")
        assert closed_ranges(connection) == {}
        # Executed again from the failure on: another run proves what that one has computed.
        assert record_closed(connection, HOURLY, HOUR, "again", "failed") == 1
        assert _row(connection, HOUR) == (True, 0, 0, 0, "again", None)


def test_what_another_run_has_begun_since_is_neither_closed_nor_failed_by_an_earlier_one(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        _begin(connection, DAY, "slow")
        _begin(connection, HOUR, "quick")
        assert record_closed(connection, HOURLY, DAY, "slow") == 23
        record_failure(connection, HOURLY, DAY, "no matter of the other", "slow")
        assert _row(connection, HOUR) == (False, None, None, 2, "quick", None)
        assert closed_ranges(connection) == {HOURLY: without_windows([DAY], [HOUR])}


@pytest.mark.slow
def test_a_long_history_is_reported_as_few_stretches_whatever_its_hours(database: Database) -> None:
    history = Window.of_dates(date(2024, 1, 1), date(2025, 12, 31))
    with database.connect(autocommit=True) as connection:
        _begin(connection, history, "run")
        record_closed(connection, HOURLY, history, "run")
        _begin(connection, DAY, "bad")
        record_failure(connection, HOURLY, HOUR, "differs", "bad")
        _begin(connection, DAY, "users", USERS)
        assert closed_ranges(connection) == {HOURLY: without_windows([history], [DAY])}
        failed = failed_ranges(connection)
    assert [(f.window, f.failure) for f in failed[HOURLY]] == [
        (Window(DAY.start, HOUR.start), None),
        (HOUR, "differs"),
        (Window(HOUR.end, DAY.end), None),
    ]
    assert [(f.window, f.attempts, f.run_id) for f in failed[USERS]] == [(DAY, 1, "users")]


def test_closed_is_final_exactly_behind_the_horizon_wherever_that_is(database: Database) -> None:
    def final(connection: Connection) -> list[int]:
        query = "SELECT extract(hour FROM window_start)::int FROM analytics_partitions WHERE is_final ORDER BY 1"
        return [hour for (hour,) in connection.execute(query)]

    with database.connect(autocommit=True) as connection:
        _begin(connection, DAY, "run")
        record_closed(connection, HOURLY, Window(DAY.start, HOUR.start), "run")
        assert mark_final(connection, at("2025-01-05T02:30")) == 3
        assert final(connection) == [0, 1, 2]
        assert mark_final(connection, at("2025-01-05T01:00")) == 2
        assert final(connection) == [0]
        mark_final(connection, DAY.end)
        assert final(connection) == list(range(10)), "what is open is never final"
        mark_final(connection, None)
        assert final(connection) == []


def test_readers_of_a_company_see_nothing_of_it(database: Database) -> None:
    with database.connect(autocommit=True) as connection:
        query = "SELECT has_any_column_privilege('analytics_reader', 'analytics_partitions', 'SELECT')"
        assert fetch_row(connection, query) == (False,)
        connection.execute("GRANT SELECT ON analytics_partitions TO PUBLIC")
        finding = reader_access(connection, get_settings())
        assert not finding.passed
        assert "analytics_partitions" in finding.summary


@pytest.mark.parametrize(
    ("windows", "others", "left", "common"),
    [
        ([(0, 10)], [], [(0, 10)], []),
        ([(0, 10)], [(0, 10)], [], [(0, 10)]),
        ([(0, 10)], [(2, 3), (5, 6)], [(0, 2), (3, 5), (6, 10)], [(2, 3), (5, 6)]),
        ([(0, 4), (6, 9)], [(3, 7)], [(0, 3), (7, 9)], [(3, 4), (6, 7)]),
        ([(6, 9), (0, 4), (4, 5)], [(8, 20), (-5, 1)], [(1, 5), (6, 8)], [(0, 1), (8, 9)]),
        ([(0, 2), (4, 6), (8, 10)], [(1, 9)], [(0, 1), (9, 10)], [(1, 2), (4, 6), (8, 9)]),
    ],
)
def test_stretches_are_taken_from_each_other(
    windows: list[tuple[int, int]],
    others: list[tuple[int, int]],
    left: list[tuple[int, int]],
    common: list[tuple[int, int]],
) -> None:
    def hours(pairs: list[tuple[int, int]]) -> list[Window]:
        return [Window(HOUR.start + timedelta(hours=a), HOUR.start + timedelta(hours=b)) for a, b in pairs]

    assert without_windows(hours(windows), hours(others)) == hours(left)
    assert common_windows(hours(windows), hours(others)) == hours(common)
