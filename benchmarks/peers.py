"""The same aggregates and the daily revenue by dbt on Dagster, by TimescaleDB's own policies, and by us.

Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/peers.py [--events N] [--again]
dbt gets an environment of its own under .local/peers. Each way loads a year, and then takes in one late event. What
they give is not the same: only ours proves each partition by its events, keeps the figures, and marks what is late.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import LiteralString
from urllib.parse import unquote, urlsplit

from _database import database, server_url
from _history import YEAR, fill
from _results import Results

from analytics_pipeline.database import connect
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection, fetch_row

HERE = Path(__file__).parent
ENVIRONMENT = HERE.parent / ".local" / "peers"
_DAILY_REVENUE = """
SELECT bucket, company_id, currency, total_value, refund_value, event_count
FROM {source}
WHERE bucket >= '2025-01-01'
"""
# Over the whole history, and run when it is measured instead of by itself.
_POLICY = """
SELECT j.job_id
FROM (SELECT remove_continuous_aggregate_policy(%(name)s, if_exists => true)) AS removed,
     LATERAL alter_job(
         add_continuous_aggregate_policy(%(name)s, NULL, NULL, '1 hour', buckets_per_batch => 0), scheduled => false
     ) AS j
"""
_LATE_EVENT = """
INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency)
VALUES (gen_random_uuid(), '2025-10-15 09:30Z', 'company-1', 'user-1', 'payment.received', 'revenue', 5, 'EUR')
"""


def main() -> None:
    """Measure each way and print it beside TimescaleDB's own policies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    server = server_url()
    os.environ["ANALYTICS_START"] = f"{YEAR.start:%Y-%m-%d}"
    os.environ["ANALYTICS_RETENTION"] = "never"
    results = Results("peers", again=arguments.again)
    print("   ratio        taken       policies")
    for events in arguments.events:
        names = [f"{way}, {what}, {events:,} events" for way in WAYS for what in STAGES]
        if not all(results.has(name) for name in names):
            policies = _measure(server, events, _policies, "SELECT sum(total_value) FROM daily_revenue")
            for way, (prepare, revenue) in WAYS.items():
                measured = _measure(server, events, prepare, revenue)
                if measured[-1] != policies[-1]:
                    sys.exit(f"{way} gives a revenue of {measured[-1]}, TimescaleDB's policies {policies[-1]}.")
                for what, ours, limit in zip(STAGES, measured[:2], policies[:2], strict=True):
                    results.keep(f"{way}, {what}, {events:,} events", ours, limit)
        for name in names:
            results.show(name)


def _measure(
    server: str, events: int, prepare: Callable[[], Callable[[], float]], revenue: LiteralString
) -> tuple[float, float, Decimal]:
    """Return the seconds that a year takes in a database of its own, then one late event, and all revenue then."""
    with database(server):
        with connect(autocommit=True) as connection:
            fill(connection, events)
        run = prepare()
        year = _seconds(run)
        with connect(autocommit=True) as connection:
            connection.execute(_LATE_EVENT)
        late = _seconds(run)
        with connect() as connection:
            (total,) = fetch_row(connection, revenue)
        return year, late, total


def _seconds(run: Callable[[], float]) -> float:
    """Return how long a run takes, less the seconds that it returns: they were spent on what nobody else does."""
    started = perf_counter()
    apart = run()
    return perf_counter() - started - apart


def _policies() -> Callable[[], float]:
    """Give every aggregate a policy over its whole history, and a table of the daily revenue beside."""
    with connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE daily_revenue AS " + _DAILY_REVENUE.format(source="analytics_revenue_daily"))
        jobs = [connection.execute(_POLICY, {"name": aggregate.name}).fetchone() for aggregate in AGGREGATES]

    def run() -> float:
        with connect(autocommit=True) as connection:
            for (job,) in filter(None, jobs):
                connection.execute("CALL run_job(%s)", [job])
            with connection.transaction():
                connection.execute("TRUNCATE daily_revenue")
                connection.execute(
                    "INSERT INTO daily_revenue " + _DAILY_REVENUE.format(source="analytics_revenue_daily")
                )
        return 0.0

    return run


def _dbt() -> Callable[[], float]:
    """Write the aggregates as dbt models, and return what materializes them through Dagster."""
    _make_environment()
    project = Path(tempfile.mkdtemp(prefix="peers-"))
    shutil.copytree(HERE / "peers_dbt", project, dirs_exist_ok=True)
    models = project / "models"
    models.mkdir()
    with connect(autocommit=True) as connection:
        for aggregate in AGGREGATES:
            (models / f"{_model(aggregate.name)}.sql").write_text(_model_sql(connection, aggregate.name))
    source = f"{{{{ ref('{_model('analytics_revenue_daily')}') }}}}"
    (models / "daily_revenue.sql").write_text(
        "{{ config(materialized='table') }}\n" + _DAILY_REVENUE.format(source=source)
    )
    url = urlsplit(os.environ["ANALYTICS_DATABASE_URL"])
    environment = {
        **os.environ,
        "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "DAGSTER_HOME": tempfile.mkdtemp(prefix="peers-dagster-"),
        "PEERS_HOST": url.hostname or "127.0.0.1",
        "PEERS_PORT": str(url.port or 5432),
        "PEERS_USER": url.username or "postgres",
        "PEERS_PASSWORD": unquote(url.password or "none"),
        "PEERS_DATABASE": url.path.removeprefix("/"),
    }

    def call(tool: str, *arguments: str) -> float:
        command = [str(ENVIRONMENT / "bin" / tool), *arguments]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{tool} has failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return 0.0

    call("dbt", "parse")
    return lambda: call("dagster", "asset", "materialize", "--select", "*", "-f", "definitions.py")


def _ours() -> Callable[[], float]:
    """Return what closes the year, the late event's partitions included, and tells how long reports have taken."""
    settings = get_settings()
    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    from dagster import DagsterInstance

    from analytics_pipeline.definitions import build_definitions
    from analytics_pipeline.orchestration.close import ClosedRange, close_span

    def run() -> float:
        reports, last = 0.0, perf_counter()

        def note(closed: ClosedRange) -> None:
            nonlocal reports, last
            now = perf_counter()
            reports += now - last if closed.job == "monthly_reports" else 0.0
            last = now

        with DagsterInstance.get() as instance:
            close_span(build_definitions(settings), settings, instance, YEAR, note)
        return reports

    return run


def _model(aggregate: str) -> str:
    return aggregate.removeprefix("analytics_")


def _model_sql(connection: Connection, aggregate: str) -> str:
    """Return an aggregate's own query as a model, built on other models where ours is built on other aggregates."""
    row = connection.execute(
        "SELECT view_definition FROM timescaledb_information.continuous_aggregates WHERE view_name = %s", [aggregate]
    ).fetchone()
    assert row is not None
    query = row[0].rstrip().rstrip(";")
    for other in AGGREGATES:
        query = query.replace(f"FROM {other.name}\n", f"FROM {{{{ ref('{_model(other.name)}') }}}} AS {other.name}\n")
    query = query.replace("FROM analytics_events", "FROM public.analytics_events")
    return f"{{{{ config(materialized='continuous_aggregate') }}}}\n{query}\n"


def _make_environment() -> None:
    if not (ENVIRONMENT / "bin" / "dbt").exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run(
            [
                str(ENVIRONMENT / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "--quiet",
                "-r",
                str(HERE / "peers_dbt" / "requirements.txt"),
            ],
            check=True,
        )


STAGES = ("a year", "one late event")
WAYS: dict[str, tuple[Callable[[], Callable[[], float]], LiteralString]] = {
    "dbt on Dagster": (_dbt, "SELECT sum(total_value) FROM peers.daily_revenue"),
    "analytics_pipeline": (
        _ours,
        "SELECT sum(total_revenue) FROM analytics_revenue_metrics WHERE company_id IS NULL AND granularity = 'day'",
    ),
}

if __name__ == "__main__":
    main()
