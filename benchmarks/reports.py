"""Monthly reports of companies beside the same pages drawn with bare reportlab, and of many companies beside few.

A bare document is the report taken apart into plain calls: it draws the same strings, lines, bars and colours at the
same places, with bookmarks and embedded fonts, and does nothing else. Every place and string is known beforehand.

Run it on a server: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/reports.py [--companies N ...] [--again]
A database is made there for each number of companies, filled, closed, and dropped again; what was measured before is
kept in benchmarks/results. Drawing is measured in processor time: it waits for nothing, and others may be busy.
"""

import argparse
import gc
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from _bare_pdf import taken_apart
from _database import database, server_url
from _history import fill
from _results import Results, seconds

from analytics_pipeline.database import connect
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.fx.csv_rates import read_source
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.reports.catalogue import parts_of
from analytics_pipeline.reports.load import load_company_reports
from analytics_pipeline.reports.monthly import monthly_order, publish_company_months
from analytics_pipeline.reports.render import render_report
from analytics_pipeline.reports.report import Report
from analytics_pipeline.sample.generator import write_rates, write_sample
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window

SPAN = Window.of_dates(date(2025, 1, 1), date(2026, 1, 31))
MONTH = date(2026, 1, 1)
# Companies so small that some never get a customer: about a thousand are left with figures.
SAMPLED = 1_080
SCALE = 0.01
DRAWN = 100
WARM = 10


def main() -> None:
    """Measure what has not been measured, and print every line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, nargs=2, default=[500, 5_000], help="Few and many, beside each other.")
    parser.add_argument("--rounds", type=int, default=3, help="Of drawing.")
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    server = server_url()
    os.environ["ANALYTICS_START"] = f"{SPAN.start:%Y-%m-%d}"
    os.environ["ANALYTICS_RETENTION"] = "never"
    results = Results("reports", again=arguments.again)
    print("   ratio         ours           bare")
    drawn = f"drawing {DRAWN} of {SAMPLED:,} companies' reports, processor time"
    if not results.has(drawn):
        with prepared(server, sample) as (connection, _):
            ours, bare = zip(*drawing(connection, arguments.rounds), strict=True)
        results.keep(drawn, median(ours), median(bare))
    results.show(drawn)
    few, many = arguments.companies
    whole = f"a hundred reports loaded, drawn and stored, of {many:,} beside of {few:,}"
    if not results.has(whole):
        taken = {}
        for companies in (few, many):
            with prepared(server, partial(history, companies=companies)) as (connection, settings):
                taken[companies] = whole_run(connection, settings)
        results.keep(whole, taken[many][0], taken[few][0], loading=taken[many][1])
    results.show(whole)


@contextmanager
def prepared(server: str, fill: Callable[[Connection, Path], None]) -> Iterator[tuple[Connection, Settings]]:
    """Give a database with thirteen months that are filled, and closed as Dagster would."""
    with tempfile.TemporaryDirectory() as folder, database(server):
        os.environ["ANALYTICS_ARTIFACTS"] = str(Path(folder) / "artifacts")
        get_settings.cache_clear()
        settings = get_settings()
        with connect(autocommit=True) as connection:
            fill(connection, Path(folder))
            connection.execute("ANALYZE analytics_events")
            for granularity in Granularity:
                for aggregate in (a for a in AGGREGATES if a.granularity is granularity):
                    refresh(connection, aggregate, SPAN)
            update_users(connection, SPAN)
            update_subscriptions(connection, SPAN)
            for table in METRIC_TABLES:
                close_metric(connection, table, Granularity.MONTH, SPAN, settings.base_currency)
            yield connection, settings


def sample(connection: Connection, folder: Path) -> None:
    """Record the sample's companies, which have everything that a report shows."""
    events, rates = folder / "events.jsonl", folder / "rates.csv"
    write_sample(events, seed=7, start=SPAN.start.date(), months=13, companies=SAMPLED, scale=SCALE)
    write_rates(rates, seed=7, start=SPAN.start.date(), months=13)
    ingest([Source.of(events)], connection, rejects_path=folder / "rejects.jsonl")
    store_rates(connection, [read_source(str(rates))])


def history(connection: Connection, _: Path, *, companies: int) -> None:
    """Record forty events and a subscription of each company."""
    fill(connection, 40 * companies, companies=companies, subscriptions=companies, span=SPAN)


def drawing(connection: Connection, rounds: int) -> Iterator[tuple[float, float]]:
    """Draw reports in both ways, others in each round, and yield the seconds."""
    order = monthly_order(connection, get_settings(), None, MONTH)
    reports = load_company_reports(connection, order.window, order.currency, parts_of(order.sections))

    def ours(report: Report) -> bytes:
        return render_report(report, order).content

    for report in reports[-WARM:]:
        taken_apart(ours(report)).draw()
    for number in range(rounds):
        some = reports[number * DRAWN : (number + 1) * DRAWN]
        made: list[bytes] = []
        # As the processes do that draw them.
        gc.freeze()
        taken = seconds(lambda some=some, made=made: made.extend(map(ours, some)), process_time)
        bare = list(map(taken_apart, made))
        gc.freeze()
        yield taken, seconds(lambda bare=bare: [document.draw() for document in bare], process_time)


def whole_run(connection: Connection, settings: Settings) -> tuple[float, float]:
    """Make the month's reports of all companies; return the seconds of a hundred, and those of loading them alone."""
    order = monthly_order(connection, settings, None, MONTH)
    started = perf_counter()
    count = len(load_company_reports(connection, order.window, order.currency, parts_of(order.sections)))
    loaded = perf_counter() - started
    started = perf_counter()
    made = sum(1 for _ in publish_company_months(connection, settings, MONTH))
    assert made == count
    return 100 * (perf_counter() - started) / count, 100 * loaded / count


if __name__ == "__main__":
    main()
