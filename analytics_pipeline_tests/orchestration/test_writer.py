"""Closing beside an ERP that never pauses: no run fails, nothing is forgotten, and in the end everything reconciles."""

import random
import subprocess
import sys
from datetime import datetime

import pytest
from dagster import DagsterInstance, Definitions, RunRequest

from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.metrics.partitions import changed_windows
from analytics_pipeline.metrics.tables import stale_periods
from analytics_pipeline.orchestration.close import close_span
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES, LOGS_DAYS
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.orchestration.sensor_ticks import Ticks
from analytics_pipeline_tests.writer import DAYS, INSERT, make_event, prepare, touched_since, writing

MONTHS = Window(at("2025-01-01"), at("2025-03-01"))
# Hours and days, and no month with its reports.
WEEK = Window(at("2025-01-01"), at("2025-01-08"))
CADENCES = {aggregate.name: aggregate.granularity for aggregate in AGGREGATES}


def _snapshot(connection: Connection) -> str:
    return str(fetch_row(connection, "SELECT pg_current_snapshot()::text")[0])


def _assert_only_newer_is_stale(connection: Connection, span: Window, snapshot: str) -> None:
    """Every bucket that is stale was touched by a write that had not been committed at the snapshot."""
    stale = [each for each in stale_ranges(connection, span) if CADENCES[each.aggregate] in _closed(span)]
    changed, periods = changed_windows(connection), stale_periods(connection)
    newer = touched_since(connection, snapshot)

    def is_explained(granularity: Granularity, start: datetime) -> bool:
        return any(start <= instant < granularity.next(start) for instant in newer)

    for each in stale:
        granularity = CADENCES[each.aggregate]
        whole = Window(granularity.floor(each.first), granularity.next(granularity.floor(each.last)))
        older = [part.start for part in whole.split(granularity) if not is_explained(granularity, part.start)]
        assert not older, f"{each.aggregate} is stale for {older}, where nothing has been written since"
    assert not changed
    assert all(any(instant < period.window.end for instant in newer) for period in periods)


def _closed(span: Window) -> set[Granularity]:
    return {granularity for granularity in Granularity if span.is_aligned(granularity)}


def _assert_all_reconciles(connection: Connection, span: Window) -> None:
    assert not [each for each in stale_ranges(connection, span) if CADENCES[each.aggregate] in _closed(span)]
    assert changed_windows(connection) == {}
    assert stale_periods(connection, "EUR") == []
    for check in all_checks():
        if check.judge_window is not None and (span == MONTHS or not check.subject.endswith("_monthly")):
            for part in span.split(Granularity.MONTH):
                finding = run_check(check, connection, get_settings(), part)
                assert finding.passed, finding.text
                assert not any(count for name, count in finding.metadata.items() if name.endswith("changed meanwhile"))


def _settle(definitions: Definitions, instance: DagsterInstance) -> list[list[RunRequest]]:
    """Let the sensor close again what is stale, hours, then what is built on them; return what each tick asked for."""
    ticks = Ticks(definitions, instance, "late_events")
    asked: list[list[RunRequest]] = []
    while requests := ticks.tick():
        for request in requests:
            assert ticks.launch(request).success
        asked.append(requests)
    return asked


@pytest.mark.slow
def test_closing_beside_a_writer_succeeds_and_forgets_nothing(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    with database.connect(autocommit=True) as connection:
        prepare(connection)
        with writing(database.url, pause=0.2):
            for _ in range(2):
                snapshot = _snapshot(connection)
                close_span(definitions, get_settings(), instance, WEEK)
                _assert_only_newer_is_stale(connection, WEEK, snapshot)
        _settle(definitions, instance)
        _assert_all_reconciles(connection, WEEK)
        # Somebody refreshes by hand the aggregate whose log names the days of users and subscriptions.
        add_event(connection, "2025-01-05T09:00", user_id="new")
        refresh(connection, next(a for a in AGGREGATES if a.name == LOGS_DAYS), WEEK)
        _settle(definitions, instance)
        _assert_all_reconciles(connection, WEEK)


@pytest.mark.slow
def test_late_events_scattered_over_months_are_closed_again_by_one_tick_and_few_runs_for_each_level(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    chance = random.Random(3)  # noqa: S311
    with database.connect(autocommit=True) as connection:
        prepare(connection)
        close_span(definitions, get_settings(), instance, MONTHS)
        for hour in chance.sample(range(DAYS * 24), 158):
            connection.execute(INSERT, make_event(chance, hour // 24, hour % 24 * 60 + chance.randrange(60)))
        asked = _settle(definitions, instance)
        _assert_all_reconciles(connection, MONTHS)
    jobs = [[str(request.job_name) for request in requests] for requests in asked]
    assert [set(of_tick) for of_tick in jobs] == [{job} for job in CLOSING_JOBS]
    assert max(map(len, jobs)) <= 2


@pytest.mark.endurance
def test_twenty_closes_one_after_the_other_beside_a_writer_end_with_status_0(
    database: Database, instance: DagsterInstance, definitions: Definitions
) -> None:
    command = [sys.executable, "-m", "analytics_pipeline", "close", "--start", "2025-01-01", "--end", "2025-03-01"]
    with database.connect(autocommit=True) as connection:
        prepare(connection)
        with writing(database.url, pause=0.15):
            for _ in range(20):
                snapshot = _snapshot(connection)
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stderr[-2000:]
                _assert_only_newer_is_stale(connection, MONTHS, snapshot)
        _settle(definitions, instance)
        _assert_all_reconciles(connection, MONTHS)
