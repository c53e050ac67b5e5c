"""The monthly reports of a thousand companies beside the same content drawn with bare reportlab.

Run it on a server of its own: ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/reports.py [--companies N]
A database is made there, filled with thirteen months of sample events, closed, and dropped again.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path

from _database import database, server_url
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from analytics_pipeline.database import connect
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.fx.csv_rates import read_source
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import METRIC_TABLES, close_metric
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.reports.catalogue import sections_of, wanted_by
from analytics_pipeline.reports.fonts import document_fonts
from analytics_pipeline.reports.load import load_company_reports
from analytics_pipeline.reports.monthly import monthly_order, publish_company_months
from analytics_pipeline.reports.order import ReportOrder
from analytics_pipeline.reports.render import render_report
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Kind, Table
from analytics_pipeline.sample.generator import write_rates, write_sample
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Cadence, Window

SPAN = Window.of_dates(date(2025, 1, 1), date(2026, 1, 31))
MONTH = date(2026, 1, 1)
# Companies so small that some never get a customer: about a thousand are left with figures.
COMPANIES = 1_080
SCALE = 0.01
RENDERED = 100
CHARTS = {"summary": 1, "revenue": 1, "mrr": 2, "users": 4}
LINE = 14.5
MARGIN = 50.0


def main() -> None:
    """Fill a database, measure both ways and the whole run, and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=COMPANIES)
    companies = parser.parse_args().companies
    server = server_url()
    os.environ["ANALYTICS_START"] = f"{SPAN.start:%Y-%m-%d}"
    os.environ["ANALYTICS_RETENTION"] = "never"
    with tempfile.TemporaryDirectory() as folder, database(server):
        os.environ["ANALYTICS_ARTIFACTS"] = str(Path(folder) / "artifacts")
        get_settings.cache_clear()
        with connect(autocommit=True) as connection:
            fill(connection, Path(folder), companies)
            measure(connection)


def fill(connection: Connection, folder: Path, companies: int) -> None:
    """Record thirteen months of small companies and close them, as Dagster would."""
    started = time.perf_counter()
    events, rates = folder / "events.jsonl", folder / "rates.csv"
    write_sample(events, seed=7, start=SPAN.start.date(), months=13, companies=companies, scale=SCALE)
    write_rates(rates, seed=7, start=SPAN.start.date(), months=13)
    summary = ingest([Source.of(events)], connection, rejects_path=folder / "rejects.jsonl")
    store_rates(connection, [read_source(str(rates))])
    connection.execute("ANALYZE analytics_events")
    for cadence in Cadence:
        for aggregate in (a for a in AGGREGATES if a.cadence is cadence):
            refresh(connection, aggregate, SPAN)
    update_users(connection, SPAN)
    update_subscriptions(connection, SPAN)
    for table in METRIC_TABLES:
        close_metric(connection, table, Cadence.MONTH, SPAN, get_settings().base_currency)
    took = time.perf_counter() - started
    print(f"{companies:,} companies, {summary.new:,} events, filled and closed in {took:.0f} s")


def measure(connection: Connection) -> None:
    """Time loading, the bare drawing, our rendering, and everything together."""
    settings = get_settings()
    order = monthly_order(settings, None, MONTH)
    started = time.perf_counter()
    reports = load_company_reports(connection, order.window, order.currency, wanted_by(order.sections))
    loaded = time.perf_counter() - started
    document_fonts()
    some = reports[:RENDERED]
    bare = documents_a_second(some, lambda report: draw_bare(report, order))
    ours = documents_a_second(some, lambda report: render_report(report, order).content)
    del reports, some
    started = time.perf_counter()
    made = list(publish_company_months(connection, settings, MONTH))
    whole = time.perf_counter() - started
    pages = sum(one.document.pages for one in made)
    size = sum(one.document.size for one in made)
    workers = min(os.cpu_count() or 1, 4)
    parent, child = (
        resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"reports loaded                {len(made) / loaded:8.1f} /s, all of them in {loaded:.1f} s")
    print(f"bare reportlab, one process   {bare:8.1f} documents/s")
    print(f"ours, one process             {ours:8.1f} documents/s, {ours / bare:.0%} of it")
    print(f"loaded, rendered, stored      {len(made) / whole:8.1f} documents/s in {workers} processes, {whole:.1f} s")
    print(f"    {len(made):,} documents of {pages / len(made):.1f} pages and {size / len(made) / 1000:.0f} kB")
    print(f"    peak memory {parent:.0f} MB and {child:.0f} MB in each worker")


def documents_a_second(reports: list[Report], make: Callable[[Report], bytes]) -> float:
    """Return how many documents a second are made in this process, after one that isn't counted."""
    make(reports[0])
    started = time.perf_counter()
    for report in reports:
        make(report)
    return len(reports) / (time.perf_counter() - started)


def draw_bare(report: Report, order: ReportOrder) -> bytes:
    """Draw the tables of the report's sections and its charts straight on a canvas: no layout, no locale, no care."""
    target = BytesIO()
    canvas = Canvas(target, pagesize=A4, invariant=1)
    page = _Page(canvas)
    page.words(report.company, 24)
    for section in sections_of(order.sections):
        page.words(section.name, 14)
        for table in section.tables(report):
            page.table(table.for_people())
        for _ in range(CHARTS.get(section.name, 0)):
            page.bars([float(month.total_revenue) for month in report.months])
    canvas.showPage()
    canvas.save()
    return target.getvalue()


class _Page:
    """Draws from the top down and begins a new page where the old one is full."""

    def __init__(self, canvas: Canvas) -> None:
        self._canvas = canvas
        self._fonts = document_fonts()
        self._y = A4[1] - MARGIN

    def words(self, words: str, size: float) -> None:
        self._down(size * 2)
        self._canvas.setFont(self._fonts.bold, size)
        self._canvas.drawString(MARGIN, self._y, words)

    def table(self, table: Table) -> None:
        step = (A4[0] - 2 * MARGIN) / len(table.columns)
        for row in ([column.title for column in table.columns], *table.rows):
            self._down(LINE)
            self._canvas.setFont(self._fonts.regular, 8.5)
            for index, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
                shown = f"{cell:,}" if isinstance(cell, Decimal | int) else str(cell)
                if column.kind is Kind.TEXT:
                    self._canvas.drawString(MARGIN + index * step, self._y + 4, shown)
                else:
                    self._canvas.drawRightString(MARGIN + (index + 1) * step, self._y + 4, shown)
            self._canvas.line(MARGIN, self._y, A4[0] - MARGIN, self._y)

    def bars(self, values: list[float]) -> None:
        self._down(130)
        highest = max(*values, 1.0)
        for index, value in enumerate(values):
            self._canvas.rect(MARGIN + index * 36, self._y, 26, 100 * value / highest, stroke=0, fill=1)
            self._canvas.drawCentredString(MARGIN + index * 36 + 13, self._y - 10, f"{index}")
        for tick in range(5):
            self._canvas.line(MARGIN, self._y + tick * 25, A4[0] - MARGIN, self._y + tick * 25)
            self._canvas.drawRightString(MARGIN - 5, self._y + tick * 25, f"{highest * tick / 4:,.0f}")

    def _down(self, height: float) -> None:
        self._y -= height
        if self._y < MARGIN:
            self._canvas.showPage()
            self._y = A4[1] - MARGIN - height


if __name__ == "__main__":
    main()
