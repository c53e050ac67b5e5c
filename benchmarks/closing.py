"""Partitions closed through Dagster beside the same refreshes called through psycopg: a year, then single ones again.

Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/closing.py [--events N] [--again]
Two databases are made there and dropped again, one for the raw calls and one for Dagster's; what was measured before
is kept in benchmarks/results. The year is measured once, since closing it again would refresh nothing; the reports of
its months are measured apart.
"""

import argparse
import os
from collections import defaultdict
from datetime import UTC, datetime
from statistics import median
from time import perf_counter

from _database import database, server_url
from _history import YEAR, fill
from _results import Results

from analytics_pipeline.database import connect
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import UNBATCHED
from analytics_pipeline.windows import Granularity, Window

REPORTS = "monthly_reports"
PARTS = ("refresh steps", "reconciliation", "other steps")
OUTSIDE = "Dagster outside the steps"
STEADY = {
    "one hour": Window(datetime(2025, 10, 15, 9, tzinfo=UTC), datetime(2025, 10, 15, 10, tzinfo=UTC)),
    "one day and its hours": Window(datetime(2025, 10, 16, tzinfo=UTC), datetime(2025, 10, 17, tzinfo=UTC)),
    "one month, its days and hours": Window(datetime(2025, 11, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)),
}
_LATE_EVENT = """
INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency)
VALUES (gen_random_uuid(), %s, 'company-1', 'user-1', 'payment.received', 'revenue', 5, 'EUR')
"""


def main() -> None:
    """Measure what has not been measured, and print every line with its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="Of single partitions.")
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    server = server_url()
    os.environ["ANALYTICS_START"] = f"{YEAR.start:%Y-%m-%d}"
    os.environ["ANALYTICS_RETENTION"] = "never"
    results = Results("closing", again=arguments.again)
    print("   ratio      closed      raw CALLs")
    for events in arguments.events:
        year = f"a year of hours, days and months without reports, {events:,} events"
        names = {f"{what} with one late event, {events:,} events": window for what, window in STEADY.items()}
        if not all(results.has(name) for name in (year, *names)):
            with database(server):
                raw, raw_steady = _raw_calls(events, names, arguments.rounds)
            with database(server):
                ours, steady, parts = _through_dagster(events, names, arguments.rounds)
            results.keep(year, ours, raw, **parts)
            for name in names:
                results.keep(name, steady[name], raw_steady[name])
        for name in (year, *names):
            results.show(name)


def _refresh(connection: Connection, window: Window) -> None:
    for granularity in Granularity:
        if window.is_aligned(granularity):
            for aggregate in (a for a in AGGREGATES if a.granularity is granularity):
                for part in window.split(Granularity.MONTH) if window == YEAR else [window]:
                    connection.execute(
                        "CALL refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz, "
                        "options => %s::jsonb)",
                        [aggregate.name, part.start, part.end, UNBATCHED],
                    )


def _raw_calls(events: int, steady: dict[str, Window], rounds: int) -> tuple[float, dict[str, float]]:
    with connect(autocommit=True) as connection:
        fill(connection, events, subscriptions=events // 50)
        started = perf_counter()
        _refresh(connection, YEAR)
        year = perf_counter() - started
        return year, {
            name: median(_refresh_late_event(connection, window) for _ in range(rounds))
            for name, window in steady.items()
        }


def _refresh_late_event(connection: Connection, window: Window) -> float:
    connection.execute(_LATE_EVENT, [window.start])
    started = perf_counter()
    _refresh(connection, window)
    return perf_counter() - started


def _through_dagster(
    events: int, steady: dict[str, Window], rounds: int
) -> tuple[float, dict[str, float], dict[str, float]]:
    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    settings = get_settings()
    enter_dagster_environment(settings)
    from dagster import DagsterInstance

    from analytics_pipeline.definitions import build_definitions
    from analytics_pipeline.orchestration.close import ClosedRange, close_span
    from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS

    definitions = build_definitions(settings)
    with connect(autocommit=True) as connection, DagsterInstance.get() as instance:
        fill(connection, events, subscriptions=events // 50)
        parts: defaultdict[str, float] = defaultdict(float)
        last = 0.0

        def note(closed: ClosedRange) -> None:
            nonlocal last
            now = perf_counter()
            parts[closed.job] += now - last
            steps = instance.get_run_step_stats(closed.run_id) if closed.job != REPORTS else []
            # Several are at work at once: what they take together is more than the time in which there is one.
            until = 0.0
            for step in sorted(steps, key=lambda step: step.start_time or 0.0):
                start, end = step.start_time or 0.0, step.end_time or 0.0
                parts[_kind(step.step_key)] += end - start
                parts[OUTSIDE] -= max(0.0, end - max(start, until))
                until = max(until, end)
            # Reading all events of a run for that takes seconds, which are not the next one's.
            last = perf_counter()

        def close(window: Window) -> float:
            nonlocal last
            parts.clear()
            last = perf_counter()
            close_span(definitions, settings, instance, window, note)
            return sum(parts[job] for job in CLOSING_JOBS if job != REPORTS)

        year = close(YEAR)
        of_year = {part: parts[part] for part in PARTS}
        of_year[OUTSIDE] = year + parts[OUTSIDE]
        of_year["reports beside it"] = parts[REPORTS]
        singles = {}
        for name, window in steady.items():
            times = []
            for _ in range(rounds):
                connection.execute(_LATE_EVENT, [window.start])
                times.append(close(window))
            singles[name] = median(times)
    return year, singles, {name: round(seconds, 1) for name, seconds in of_year.items()}


def _kind(step: str) -> str:
    refresh_steps, reconciliation, other_steps = PARTS
    if step.endswith("window_reconciles"):
        return reconciliation
    return refresh_steps if any(step == aggregate.name for aggregate in AGGREGATES) else other_steps


if __name__ == "__main__":
    main()
