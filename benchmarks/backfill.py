"""A year of partitions closed through Dagster beside the same refreshes called through psycopg.

Run it on a server of its own: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/backfill.py [--events N]
Two databases are made there and dropped again: one for the raw calls, one for Dagster's.
"""

import argparse
import os
import time
from collections import Counter
from datetime import date

from _database import database, server_url

from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, connect
from analytics_pipeline.timescale.refresh import UNBATCHED
from analytics_pipeline.windows import Cadence, Window

YEAR = Window.of_dates(date(2025, 1, 1), date(2025, 12, 31))

# A hundred companies, ten thousand users, four kinds of events spread evenly over the year.
_EVENTS = """
INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency)
SELECT
    gen_random_uuid(),
    %(start)s::timestamptz + (%(end)s::timestamptz - %(start)s::timestamptz) * (i / %(events)s::float8),
    'company-' || i %% 100,
    'user-' || i::bigint * 7919 %% 10000,
    (ARRAY['payment.received', 'user.login', 'crypto.received', 'invoice.created'])[1 + i %% 4],
    (ARRAY['revenue', 'user_activity', 'crypto', 'billing'])[1 + i %% 4],
    CASE WHEN i %% 4 = 1 THEN NULL ELSE 10 + i %% 90 END,
    CASE WHEN i %% 4 = 1 THEN NULL WHEN i %% 4 = 2 THEN 'BTC' ELSE 'EUR' END
FROM generate_series(0, %(events)s - 1) AS i
"""


def main() -> None:
    """Measure both ways and print where the difference goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    events = parser.parse_args().events
    server = server_url()
    os.environ["ANALYTICS_START"] = f"{YEAR.start:%Y-%m-%d}"
    os.environ["ANALYTICS_RETENTION"] = "never"
    with database(server):
        raw = _raw_calls(events)
    with database(server):
        through_dagster, parts = _through_dagster(events)
    print(f"{events:,} events, a year of hours, days and months, {len(AGGREGATES)} aggregates")
    print(f"raw CALLs through psycopg     {raw:7.1f} s")
    print(f"closed through Dagster        {through_dagster:7.1f} s   ratio {through_dagster / raw:.1f}")
    for name, seconds in parts.most_common():
        print(f"    {name:<26}{seconds:7.1f} s")


def _fill(connection: Connection, events: int) -> None:
    connection.execute(_EVENTS, {"start": YEAR.start, "end": YEAR.end, "events": events})
    connection.execute("ANALYZE analytics_events")


def _raw_calls(events: int) -> float:
    with connect(autocommit=True) as connection:
        _fill(connection, events)
        started = time.perf_counter()
        for cadence in Cadence:
            for aggregate in (a for a in AGGREGATES if a.cadence is cadence):
                for month in YEAR.split(Cadence.MONTH):
                    connection.execute(
                        "CALL refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz, "
                        "options => %s::jsonb)",
                        [aggregate.name, month.start, month.end, UNBATCHED],
                    )
        return time.perf_counter() - started


def _through_dagster(events: int) -> tuple[float, Counter[str]]:
    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    settings = get_settings()
    enter_dagster_environment(settings)
    from dagster import DagsterInstance

    from analytics_pipeline.orchestration.build import build_definitions
    from analytics_pipeline.orchestration.close import close_span

    with connect(autocommit=True) as connection:
        _fill(connection, events)
    definitions = build_definitions(settings)
    parts: Counter[str] = Counter()
    with DagsterInstance.get() as instance:
        started = time.perf_counter()
        closed = close_span(definitions, settings, instance, YEAR)
        elapsed = time.perf_counter() - started
        for run in closed:
            for step in instance.get_run_step_stats(run.run_id):
                parts[_kind(step.step_key, run.job)] += (step.end_time or 0.0) - (step.start_time or 0.0)
    parts["Dagster outside the steps"] = elapsed - sum(parts.values())
    return elapsed, parts


def _kind(step: str, job: str) -> str:
    if step.endswith("window_reconciles"):
        return "reconciliation"
    if job == "monthly_reports":
        return "PDF reports"
    if any(step == aggregate.name for aggregate in AGGREGATES):
        return "refresh steps"
    return "other steps"


if __name__ == "__main__":
    main()
