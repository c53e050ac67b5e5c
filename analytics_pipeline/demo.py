"""The main job once, from events to a report, on the configured database."""

import os
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from multiprocessing import Process
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from analytics_pipeline.ages import NEVER
from analytics_pipeline.asset_names import MONTHLY_REPORT
from analytics_pipeline.cli.local import API_PORT, UI_PORT
from analytics_pipeline.cli.program import program
from analytics_pipeline.cli.sample import months_before
from analytics_pipeline.cli.terminal import data_console
from analytics_pipeline.currencies import round_money
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.ingest import IngestSummary, Progress, ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.messages.recipients import add_recipient
from analytics_pipeline.metrics.answers import revenue_answer, revenue_series_answer, users_series_answer
from analytics_pipeline.metrics.revenue import revenue_by_currency
from analytics_pipeline.orchestration.instance import dagster_environment
from analytics_pipeline.sample.arrivals import date_arrivals
from analytics_pipeline.sample.generator import write_rates, write_sample
from analytics_pipeline.settings import Settings, get_settings, write_settings_file
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.clock import check_clock, database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.policies import change_policies, policy_records
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window

if TYPE_CHECKING:
    from analytics_pipeline.orchestration.close import ClosedRange

_FX_SOURCE = "ANALYTICS_FX_SOURCE"
_START = "ANALYTICS_START"

_EVENTS_OF_A_COMPANY_MONTH = 250_000 / 13 / 5
# Measured with 257,000 events of 13 months.
_SECONDS_OF_AN_EVENT = 0.0003
_MEGABYTES_OF_AN_EVENT = 0.0013
_BYTES_OF_AN_EVENT, _BYTES_OF_A_COMPRESSED_EVENT = 300, 40


@dataclass(frozen=True, slots=True)
class SampleSize:
    """What the sample generator is asked for; ``scale`` 1.0 is about 250,000 events over 13 months."""

    months: int
    companies: int
    scale: float
    seed: int

    @property
    def events(self) -> float:
        """About how many events that makes."""
        return _EVENTS_OF_A_COMPANY_MONTH * self.months * self.companies * self.scale


@dataclass(slots=True)
class _Clock:
    """What is being done, and for how many seconds: rendered anew as long as it is shown."""

    doing: str
    demo_started: float
    started: float = field(default_factory=time.monotonic)

    def __rich__(self) -> str:
        now = time.monotonic()
        return f"{self.doing} [dim]{now - self.started:.0f} s, {now - self.demo_started:.0f} s in all[/]"


def run_demo(events_file: Path | None, size: SampleSize, *, confirmed: bool) -> None:
    """Run every step and print a summary; repeating it changes nothing.

    ``confirmed`` allows to load into a server of its own that already holds events. Raises
    ``AnalyticsError`` when a step or a check fails.
    """
    started = time.monotonic()
    console = data_console(markup=True)
    settings = get_settings()
    _announce(console, settings, size.events if events_file is None else _expected_events(events_file))
    step = partial(_step, console, started)
    # What needs no database of ours is done beside what does: the sample, and then Dagster's storage.
    writer = None if events_file is not None else _begin_sample(settings, size)
    with step("database, schema, policies") as (note, _):
        note.extend(migrate(settings).notes)
        _refuse_foreign_events(settings, confirmed=confirmed)
    storage = ThreadPoolExecutor(1).submit(dagster_environment, settings)
    rates, sample_size = settings.fx_source, None if events_file is not None else size
    if events_file is None:
        with step("sample events and rates"):
            if writer is not None:
                writer.join()
            events_file, rates_file = _sample(settings, size)
        rates = str(rates_file)
    name = f"ingestion of {escape(printable_line(events_file.name))}"
    with step(name) as (note, clock):

        def show(progress: Progress) -> None:
            clock.doing = f"{name}: {progress.summary.read:,} read"

        summary = _ingest(settings, events_file, show)
        note.append(
            f"{summary.read:,} read, {summary.new:,} new, {summary.already_there:,} already there, "
            f"{summary.rejected:,} rejected"
        )
    span = _span(settings, summary, events_file)
    settings = _fit_start(console, settings, span)
    _keep_events(console, settings, span)
    if sample_size is not None:
        with step("arrival times of the sample") as (note, _):
            note.append(f"{_date_arrivals(settings, span, sample_size):,} events came in as the sample says")
    settings = _use_rates(settings, rates)
    with step("Dagster's storage"):
        os.environ.update(storage.result())
    closed = _close(console, step, settings, span, (events_file, summary))
    spool = _mail(step, settings)
    # An unfinished month has no monthly partition: the summary shows the whole months.
    months = Window(span.start, max(Granularity.MONTH.floor(span.end), Granularity.MONTH.next(span.start)))
    _print_summary(console, settings, months, closed)
    if spool is not None:
        console.print(f"Mails  {escape(str(spool))}", soft_wrap=True)
    _print_next_steps(console, settings, months.last_day)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.")
    if settings.database_url is None:
        console.print(f"The embedded databases keep running: [bold]{escape(program())} db stop[/] ends them.")


def _announce(console: Console, settings: Settings, events: float) -> None:
    """Say how long it takes and how much disk; raise ``AnalyticsError`` where there is not as much.

    Both were measured on two cores with the embedded databases.
    """
    seconds, megabytes = 20 + events * _SECONDS_OF_AN_EVENT, round(150 + events * _MEGABYTES_OF_AN_EVENT)
    console.print(
        f"About {events:,.0f} events: it takes about {seconds:,.0f} s on two cores"
        f" and {megabytes:,} MB of disk under {escape(str(settings.home))}.",
        soft_wrap=True,
    )
    there = next(folder for folder in (settings.home.absolute(), *settings.home.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free // 1_000_000
    # A demo that is repeated has its disk.
    if free < megabytes and not (settings.home / "demo").exists():
        raise AnalyticsError(
            f"The demo takes about {megabytes:,} MB of disk under {settings.home}, and {free:,} MB are free: name a "
            "folder with more room by ANALYTICS_HOME, or ask for fewer events by --scale or --months."
        )


def _expected_events(events_file: Path) -> float:
    """Return about how many events a file holds, by its size; none where it can't be read, which ingestion says."""
    try:
        size = events_file.stat().st_size
    except OSError:
        return 0
    return size / (_BYTES_OF_A_COMPRESSED_EVENT if events_file.suffix in {".gz", ".zst"} else _BYTES_OF_AN_EVENT)


# Opens a step by its name: the notes it ends with, and what it shows meanwhile.
_Steps = Callable[[str], AbstractContextManager[tuple[list[str], _Clock]]]


@contextmanager
def _step(console: Console, demo_started: float, name: str) -> Iterator[tuple[list[str], _Clock]]:
    """Show a step and its seconds while it runs, and in the end with the notes that were made."""
    note: list[str] = []
    clock = _Clock(name, demo_started)
    with console.status(clock):
        yield note, clock
    console.print(f"  [green]ok[/] {name:<44}{time.monotonic() - clock.started:6.1f} s  {'; '.join(note)}")


def _refuse_foreign_events(settings: Settings, *, confirmed: bool) -> None:
    if settings.database_url is None or confirmed:
        return
    with connect(settings, autocommit=True) as connection:
        row = connection.execute("SELECT EXISTS (SELECT FROM analytics_events)").fetchone()
    if row == (True,):
        raise AnalyticsError(
            "The database of ANALYTICS_DATABASE_URL already holds events, and the demo would add its own: unset the "
            "variable to use the embedded database, or repeat with --yes."
        )


def _begin_sample(settings: Settings, size: SampleSize) -> Process:
    """Write the sample in a process of its own, from the month that this machine's clock says; it ends with this one.

    What it can't write, or where the database's clock is in another month, ``_sample`` does and says.
    """
    writer = Process(target=_write_ahead, args=(settings.home, datetime.now(UTC).date(), size), daemon=True)
    writer.start()
    return writer


def _write_ahead(home: Path, today: date, size: SampleSize) -> None:
    # Its parent says what interrupts them.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with suppress(AnalyticsError, OSError):
        _write_sample(home, today, size)


def _sample(settings: Settings, size: SampleSize) -> tuple[Path, Path]:
    """Return the files of the sample's events and of its rates, written if they aren't there."""
    with connect(settings, autocommit=True) as connection:
        today = check_clock(connection).date()
    return _write_sample(settings.home, today, size)


def _write_sample(home: Path, today: date, size: SampleSize) -> tuple[Path, Path]:
    start = months_before(today, size.months)
    name = f"sample-{start:%Y-%m}-{size.months}m-{size.companies}c-{size.scale:g}x-seed{size.seed}"
    folder = home / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    events, rates = folder / f"{name}.jsonl.gz", folder / f"{name}.rates.csv"
    if not events.exists():
        partial_file = folder / f"partial-{events.name}"
        write_sample(
            partial_file,
            seed=size.seed,
            start=start,
            months=size.months,
            companies=size.companies,
            scale=size.scale,
        )
        partial_file.replace(events)
    # Each time, up to this day: what the sample's customers subscribe to is worth something after its last event, too.
    partial_file = folder / f"partial-{rates.name}"
    write_rates(partial_file, seed=size.seed, start=start, months=size.months, until=today)
    partial_file.replace(rates)
    return events, rates


def _ingest(settings: Settings, events_file: Path, progress: Callable[[Progress], None]) -> IngestSummary:
    rejects = settings.home / "demo" / f"{events_file.name}.rejects.jsonl"
    rejects.parent.mkdir(parents=True, exist_ok=True)
    with connect(settings) as connection:
        return ingest([Source.of(events_file)], connection, rejects_path=rejects, progress=progress)


def _date_arrivals(settings: Settings, span: Window, size: SampleSize) -> int:
    with connect(settings, autocommit=True) as connection:
        return date_arrivals(connection, span, size.companies)


def _use_rates(settings: Settings, source: str) -> Settings:
    """Let a source be the one that rates are loaded from, and return the settings that say so.

    The embedded database takes no others from then on, unless somebody has named one: an invented price fits no real
    one. On a server it is the source of this run.
    """
    if source == settings.fx_source:
        return settings
    if settings.database_url is None and _FX_SOURCE not in os.environ:
        write_settings_file(settings.home, {_FX_SOURCE: source})
    else:
        os.environ[_FX_SOURCE] = source
    get_settings.cache_clear()
    return get_settings()


def _span(settings: Settings, summary: IngestSummary, events_file: Path) -> Window:
    """Return the whole months that the file's events cover, up to the last hour that has ended by the database."""
    if summary.first is None or summary.last is None:
        raise AnalyticsError(f"{events_file} holds no valid event: its rejects tell why.")
    end = Granularity.MONTH.next(Granularity.MONTH.floor(summary.last))
    with connect(settings, autocommit=True) as connection:
        last_hour = Granularity.HOUR.floor(database_now(connection))
    return Window(Granularity.MONTH.floor(summary.first), min(end, last_hour))


def _fit_start(console: Console, settings: Settings, span: Window) -> Settings:
    """Let the first partition reach back to the span, for later commands too."""
    if span.start.date() >= settings.start and not _is_first(settings, span):
        return settings
    change = {_START: f"{span.start:%Y-%m-%d}"}
    if _START in os.environ:
        raise AnalyticsError(f"The events begin on {change[_START]}: set {_START}={change[_START]}, or unset it.")
    if settings.database_url is None:
        where = f"set in {write_settings_file(settings.home, change)}"
    else:
        os.environ.update(change)
        where = "set for this run, to be exported for later ones"
    get_settings.cache_clear()
    console.print(
        f"  [green]ok[/] {_START}={change[_START]} {where}: the events begin on {change[_START]}", soft_wrap=True
    )
    return get_settings()


def _keep_events(console: Console, settings: Settings, span: Window) -> None:
    """Let a retention that nobody has chosen reach back to the span: keep the events for ever."""
    with connect(settings, autocommit=True) as connection:
        retention = policy_records(connection)["retention"]
        if retention.value == NEVER or not _is_beyond(connection, span.start, retention.value):
            return
        if retention.origin != "environment" or "retention" in settings.model_fields_set:
            raise AnalyticsError(
                f"The events begin on {span.start:%Y-%m-%d}, and this database drops them after {retention.value}: run "
                "'analytics-pipeline db policies --retention never' first."
            )
        change_policies(connection, server_info(connection), {"retention": NEVER})
    console.print(
        f"  [green]ok[/] retention never instead of {retention.value}: the events begin on {span.start:%Y-%m-%d} "
        "('analytics-pipeline db policies' shows and changes it)",
        soft_wrap=True,
    )


def _is_first(settings: Settings, span: Window) -> bool:
    """Return whether the embedded database holds nothing before the span, and nobody has chosen a start."""
    if settings.database_url is not None or "start" in settings.model_fields_set:
        return False
    with connect(settings, autocommit=True) as connection:
        row = connection.execute('SELECT min("timestamp") >= %s FROM analytics_events', [span.start]).fetchone()
    return row == (True,)


def _is_beyond(connection: Connection, instant: datetime, age: str) -> bool:
    return fetch_row(connection, "SELECT %s < now() - %s::interval", [instant, age]) == (True,)


def _close(
    console: Console, step: _Steps, settings: Settings, span: Window, ingested: tuple[Path, IngestSummary]
) -> "list[ClosedRange]":
    """Let Dagster know of the file that was ingested, set up, load the rates, and close the span."""
    # Dagster takes a second to import: not before there is something to close.
    from analytics_pipeline.orchestration.close import (
        close_with_instance,
        load_rates_with_instance,
        report_file_with_instance,
        set_up_with_instance,
    )
    from analytics_pipeline.orchestration.runs.tags import DEMO

    with step("analytics_events, its checks") as (note, _):
        events_file, summary = ingested
        report_file_with_instance(settings, printable_line(events_file.name), summary)
        note.append(f"{set_up_with_instance(settings, reason=DEMO)} checks passed")
    with step("rates of exchange") as (note, _):
        note.append(load_rates_with_instance(settings, reason=DEMO))
    closed: list[ClosedRange] = []
    with step("closing of all partitions") as (note, clock):

        def show(run: "ClosedRange") -> None:
            closed.append(run)
            clock.doing = f"closing partitions: {run.job} of {run.window} are closed"
            if not console.is_terminal:
                console.print(f"     {run}")

        close_with_instance(settings, span, show, reason=DEMO)
        note.append(f"{len(closed)} runs")
    for job, runs in _by_job(closed).items():
        console.print(
            f"  [green]ok[/] {job:<44}{sum(r.seconds for r in runs):6.1f} s  "
            f"{sum(r.partitions for r in runs):,} partitions in {len(runs)} runs, "
            f"{sum(r.checks for r in runs)} checks passed"
        )
    return closed


def _mail(step: _Steps, settings: Settings) -> Path | None:
    """Mail the newest reports to example addresses, into a folder, and return that; None where mail is not ours.

    One gets the report over all companies, the other that of a company.
    """
    spool = settings.home / "spool"
    chosen = settings.smtp_url.get_secret_value() if settings.smtp_url else spool.as_uri()
    if settings.database_url is not None or chosen != spool.as_uri():
        return None
    from analytics_pipeline.orchestration.messages import mail_with_instance

    with step("mails of the reports, into a folder") as (note, _):
        write_settings_file(settings.home, {"ANALYTICS_SMTP_URL": chosen})
        get_settings.cache_clear()
        with connect(settings, autocommit=True) as connection:
            add_recipient(connection, None, MONTHLY_REPORT, "cfo@example.com")
            company = _first_company(connection)
            if company is not None:
                add_recipient(connection, company, MONTHLY_REPORT, "finance@example.com")
        note.append(str(mail_with_instance(get_settings())))
    return spool


def _first_company(connection: Connection) -> str | None:
    """Return a company that has a report, None without any."""
    (company,) = fetch_row(connection, "SELECT min(company_id) FROM analytics_report_documents WHERE is_current")
    return company  # type: ignore[no-any-return]


def _by_job(closed: "list[ClosedRange]") -> "dict[str, list[ClosedRange]]":
    jobs: dict[str, list[ClosedRange]] = {}
    for run in closed:
        jobs.setdefault(run.job, []).append(run)
    return jobs


def _print_summary(console: Console, settings: Settings, months: Window, closed: "list[ClosedRange]") -> None:
    reporting = settings.base_currency
    with connect(settings, autocommit=True) as connection:
        revenue = revenue_series_answer(connection, None, months, reporting, Granularity.MONTH)["series"]
        users = users_series_answer(connection, None, months, Granularity.MONTH)["series"]
        by_currency = revenue_by_currency(connection, None, months)
        total = revenue_answer(connection, None, months, reporting)["totalRevenue"]
    in_all = {row["start"]: row for row in revenue}
    table = Table(title="All companies", title_justify="left")
    table.add_column("month")
    for heading in (f"total revenue, {reporting}", f"MRR, {reporting}", "active users", "new users"):
        table.add_column(heading, justify="right")
    for row in users:
        month = row["start"]
        figures = (in_all[month]["totalRevenue"], in_all[month]["mrr"], row["activeUsers"], row["newUsers"])
        table.add_row(month, *("" if figure is None else f"{figure:,}" for figure in figures))
    console.print()
    console.print(table)
    parts = ", ".join(f"{round_money(row.revenue, row.currency):,} {row.currency}" for row in by_currency)
    console.print(
        f"Total  {total:,} {reporting}, each amount at the rate of its day; paid were {parts}", soft_wrap=True
    )
    reports = [run for run in closed if run.job == "monthly_reports"]
    if reports:
        report, month = reports[-1].documents[-1], f"{months.last_day:%Y-%m}"
        console.print(
            f"Report {escape(report)}: total revenue {in_all[month]['totalRevenue']:,} {reporting} and MRR "
            f"{in_all[month]['mrr']:,} {reporting} of {month}; of each company in "
            f"{escape(report.rpartition('/')[0])}/companies",
            soft_wrap=True,
        )
    console.print(f"Data   {escape(str(settings.home))}", soft_wrap=True)


def _print_next_steps(console: Console, settings: Settings, month: date) -> None:
    with connect(settings, autocommit=True) as connection:
        company = _first_company(connection)
    of_company = "" if company is None else f" --company {shlex.quote(company)}"
    commands = (
        f"up  # the Dagster UI at http://127.0.0.1:{UI_PORT} and the page at http://127.0.0.1:{API_PORT}",
        f"metrics revenue --month {month:%Y-%m}  # the figures of the report",
        f"report --month {month:%Y-%m} --format xlsx{of_company}",
    )
    console.print("\nNext:")
    for command in commands:
        console.print(f"  [bold]{escape(f'{program()} {command}')}[/]", soft_wrap=True)
