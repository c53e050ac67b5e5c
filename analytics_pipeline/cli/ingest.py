"""The commands ``ingest`` and ``record``."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError, ArgumentError, first_line
from analytics_pipeline.events.bulk_load import Loaded
from analytics_pipeline.events.contradictions import OnConflict, event_fields, instant_text
from analytics_pipeline.events.exact_json import parse_json
from analytics_pipeline.events.ingest import IngestSummary, Progress, SourcesUnreadableError
from analytics_pipeline.events.ingest import ingest as ingest_sources
from analytics_pipeline.events.instants import CUT, LEAP_SECOND, zone_named
from analytics_pipeline.events.model import AnalyticsEvent, Parsing
from analytics_pipeline.events.record import new_event, store_events
from analytics_pipeline.events.sources import Format, Source
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale.connection import Connection

SOME_REJECTED = 3
_SECONDS_BETWEEN_LINES = 2.0
# What the summary in text shows only where there is some, under the names of the JSON.
_RARE_FIGURES = {
    "conflicts": "conflicts",
    "replaced": "replaced",
    "skipped NULs": "nulBytesSkipped",
    "cut instants": "timestampsCut",
    "leap seconds": "leapSeconds",
}


_on_conflict_option = click.option(
    "--on-conflict",
    type=click.Choice([each.value for each in OnConflict]),
    default=OnConflict.REJECT.value,
    show_default=True,
    help="What becomes of a stored event that a record of its event_id and timestamp contradicts: it stays, or it is "
    "replaced.",
)


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--format",
    "file_format",
    type=click.Choice([each.value for each in Format]),
    help="Default: each FILE's ending.",
)
@click.option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON Lines file for rejected records; default: a new one in ANALYTICS_HOME/rejects.",
)
@_on_conflict_option
@click.option("--assume-zone", metavar="ZONE", help="Zone of timestamps that have none: UTC, Europe/Berlin.")
@click.option("--decimal-comma", is_flag=True, help="Read numbers that are texts, and cells of CSV, like 12,50.")
@click.option("--encoding", metavar="NAME", help="Of lines and CSV that are not UTF-8: utf-16-le, cp1252.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def ingest(
    context: click.Context,
    files: tuple[str, ...],
    file_format: str | None,
    rejects: Path | None,
    on_conflict: str,
    assume_zone: str | None,
    encoding: str | None,
    *,
    decimal_comma: bool,
    as_json: bool,
) -> None:
    """Load events from each FILE: JSON Lines, CSV or Parquet, also packed with gzip or zstd; "-" is standard input.

    A file may be loaded any number of times: events are recognised by event_id and timestamp. What can't be
    an event is kept, with line number and reason, in the rejects file and in analytics_ingest_rejects; the rest
    goes in, of a damaged file too. Timestamps below a microsecond are cut, and the summary counts them. Of each FILE
    and reason the first 10,000 are kept (ANALYTICS_REJECTS_KEPT), the others counted.

    A record that says something else than the stored event of its event_id and timestamp is a conflict: it is
    rejected, or replaces the event, and both are kept side by side in analytics_event_conflicts.

    Exit status: 0 everything is in, 3 some records were rejected or in conflict, 1 a file or the database couldn't be
    used.
    """
    chosen = None if file_format is None else Format(file_format)
    sources = [Source.of(file, chosen, encoding) for file in files]
    parsing = Parsing(None if assume_zone is None else zone_named(assume_zone), decimal_comma)
    rejects_path = rejects or new_rejects_path()
    unreadable = None
    with _database() as connection, _progress(sources) as progress:
        try:
            summary = ingest_sources(
                sources,
                connection,
                rejects_path=rejects_path,
                rejects_kept=get_settings().rejects_kept,
                on_conflict=OnConflict(on_conflict),
                parsing=parsing,
                progress=progress,
            )
        except SourcesUnreadableError as error:
            summary, unreadable = error.summary, error
    figures = summary_figures(summary, rejects_path)
    print_summary(figures, as_json=as_json)
    if unreadable is not None:
        raise unreadable
    if summary.rejected:
        context.exit(SOME_REJECTED)


@click.command()
@click.argument("company")
@click.option("--user", "user_id", help="User of the company the event is about.")
@click.option("--type", "event_type", required=True, help="For example payment.received.")
@click.option("--category", required=True, help="billing, revenue, user_activity, crypto or subscription.")
@click.option("--value", help="Amount, exactly as it is to be stored, for example -12.50.")
@click.option("--currency", help="Currency or ticker of the value: EUR, BTC.")
@click.option("--metadata", help="A JSON object.")
@click.option("--timestamp", help="When it happened, ISO 8601 with a zone; default: now.")
@click.option("--event-id", help="UUID or any other text; with --timestamp it makes a repetition harmless.")
@_on_conflict_option
@click.option("--json", "as_json", is_flag=True, help="Print id, timestamp and what became of the event as JSON.")
@click.pass_context
def record(
    context: click.Context,
    company: str,
    user_id: str | None,
    event_type: str,
    category: str,
    value: str | None,
    currency: str | None,
    metadata: str | None,
    timestamp: str | None,
    event_id: str | None,
    on_conflict: str,
    *,
    as_json: bool,
) -> None:
    """Store one event of COMPANY.

    Exit status: 0 it is in, 3 it contradicts the stored event of its event_id and timestamp (both are kept in
    analytics_event_conflicts), 1 it can't be an event or the database couldn't be used.
    """
    event = new_event(
        company,
        user_id,
        event_type,
        category,
        value,
        currency,
        None if metadata is None else _metadata(metadata),
        event_id=event_id,
        timestamp=timestamp,
    )
    with _database() as connection:
        loaded = store_events([event], connection=connection, on_conflict=OnConflict(on_conflict), source="record")
    refusal = loaded.refused[0] if loaded.refused else None
    if refusal is not None and refusal.stored is None:
        raise refusal.rejection
    if as_json:
        echo_json(_recorded(event, loaded))
    elif refusal is not None:
        echo(f"conflict: {refusal.rejection.reason}")
    else:
        outcome = "recorded" if loaded.new else "replaced" if loaded.replaced else "already there"
        echo(f"{outcome}: {event.event_id} at {instant_text(event.timestamp)}")
    if refusal is not None:
        context.exit(SOME_REJECTED)


def _recorded(event: AnalyticsEvent, loaded: Loaded) -> dict[str, object]:
    """Return what the command's JSON says of an event; ``conflict`` holds both events, amounts as text."""
    conflict = None
    if loaded.refused and (stored := loaded.refused[0].stored) is not None:
        conflict = {"stored": event_fields(stored), "sent": event_fields(event)}
    return {
        "event_id": str(event.event_id),
        "timestamp": instant_text(event.timestamp),
        "new": bool(loaded.new),
        "replaced": bool(loaded.replaced),
        "conflict": conflict,
    }


def _metadata(text: str) -> dict[str, object]:
    metadata = parse_json(text)
    if not isinstance(metadata, dict):
        raise ArgumentError("--metadata is not a JSON object: write it like '{\"key\": 1}'.")
    return metadata


@contextmanager
def _database() -> Iterator[Connection]:
    """Open a connection whose loss, and whose missing tables, are said in one line."""
    with connect(autocommit=True) as connection:
        try:
            yield connection
        except psycopg.OperationalError as error:
            raise AnalyticsError(
                f"The database failed: {first_line(error)}. Run the same command again: what is in stays in."
            ) from error
        except psycopg.errors.UndefinedTable as error:
            raise AnalyticsError(f"{first_line(error)}: run 'analytics-pipeline db migrate' first.") from error


def new_rejects_path(kind: str = "") -> Path:
    """Return the path of a new file of rejected records, under ANALYTICS_HOME; ``kind`` ends its name."""
    name = "-".join(filter(None, (f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}", str(os.getpid()), kind)))
    return get_settings().home / "rejects" / f"{name}.jsonl"


@contextmanager
def _progress(sources: list[Source]) -> Iterator[Callable[[Progress], None]]:
    """Give a progress bar on a terminal, plain lines now and then elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {
            source: bar.add_task(printable_line(Path(source.name).name), total=source.size, figures="", start=False)
            for source in dict.fromkeys(sources)
        }

        def show(progress: Progress) -> None:
            task = tasks[progress.source]
            bar.start_task(task)
            summary = progress.summary
            figures = f"{summary.read:,} read, {summary.rejected:,} rejected, {summary.rows_per_second:,.0f}/s"
            bar.update(task, completed=progress.position, figures=figures)

        yield show


def _plain_lines() -> Callable[[Progress], None]:
    printed = time.monotonic()

    def show(progress: Progress) -> None:
        nonlocal printed
        if time.monotonic() - printed >= _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            echo(f"{printable_line(progress.source.name)}: {_figures_line(progress.summary)}", err=True)

    return show


def _figures_line(summary: IngestSummary) -> str:
    return (
        f"{summary.read:,} read, {summary.new:,} new, {summary.already_there:,} already there, "
        f"{summary.rejected:,} rejected, {summary.conflicts:,} of them conflicts, {summary.rows_per_second:,.0f} rows/s"
    )


def summary_figures(summary: IngestSummary, rejects_path: Path) -> dict[str, object]:
    """Return what an ingestion has stored with the fields of the command's JSON."""
    return {
        "read": summary.read,
        "new": summary.new,
        "alreadyThere": summary.already_there,
        "replaced": summary.replaced,
        "rejected": summary.rejected,
        "conflicts": summary.conflicts,
        "reasons": dict(summary.reasons.most_common()),
        "rejects": str(rejects_path.absolute()) if summary.rejected else None,
        **({"notKept": summary.not_kept} if summary.not_kept else {}),
        "nulBytesSkipped": summary.nul_bytes,
        "timestampsCut": summary.adjusted[CUT],
        "leapSeconds": summary.adjusted[LEAP_SECOND],
        "unreadable": summary.unreadable,
        "first": _instant(summary.first),
        "last": _instant(summary.last),
        "seconds": round(summary.seconds, 3),
        "rowsPerSecond": round(summary.rows_per_second),
    }


def print_summary(figures: dict[str, object], *, as_json: bool) -> None:
    """Print them as JSON, or as lines for people."""
    if as_json:
        echo_json(figures)
    else:
        echo(_summary_table(figures))


def _summary_table(figures: dict[str, object]) -> str:
    lines = [
        f"read           {figures['read']:>12,}",
        f"new            {figures['new']:>12,}",
        f"already there  {figures['alreadyThere']:>12,}",
        f"rejected       {figures['rejected']:>12,}",
        *(f"{name:<15}{figures[key]:>12,}" for name, key in _RARE_FIGURES.items() if figures[key]),
        f"rows/s         {figures['rowsPerSecond']:>12,}",
        f"seconds        {figures['seconds']:>12,.1f}",
        f"time span      {figures['first']} to {figures['last']}" if figures["first"] else "time span      none",
    ]
    reasons = figures["reasons"]
    if isinstance(reasons, dict) and reasons:
        lines += ["", "rejected because"]
        lines += [f"{count:>12,}  {reason}" for reason, count in reasons.items()]
        but = f", but for {figures['notKept']:,} that are only counted" if "notKept" in figures else ""
        lines += [f"kept in {figures['rejects']}{but}"]
    return "\n".join(lines)


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)
