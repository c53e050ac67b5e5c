"""The ``sources`` commands."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import click

from analytics_pipeline.cli.dates import INSTANT
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.erp.check import SourceCheck, check_source
from analytics_pipeline.erp.corrections import accept_rows
from analytics_pipeline.erp.cursors import SourceStatus, read_statuses, reset
from analytics_pipeline.erp.reader import connect_erp, require_erp_url
from analytics_pipeline.erp.record_source import SourceResult, record_source
from analytics_pipeline.erp.rejected_rows import SourceReject, open_rejects
from analytics_pipeline.erp.source_files import ErpSource, choose_sources, read_sources
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError, UnknownNameError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.clock import database_now

SOME_REJECTED = 3
_SECONDS_BETWEEN_LINES = 2.0
_MAX_REJECTS = 100_000

_as_json = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group()
def sources() -> None:
    """Record events from the ERP's own tables, in the database of ANALYTICS_ERP_URL.

    A source is one SQL file: those shipped with the program, or yours in the folder ANALYTICS_ERP_SOURCES. The
    sensor erp_sources reads them by itself; these commands look at them and read them at once.
    """


@sources.command("list")
@_as_json
def list_sources(*, as_json: bool) -> None:
    """Show each source: what it reads, how far it has been read, what was rejected, how the last run went."""
    found = read_sources(get_settings())
    with connect(autocommit=True) as connection:
        statuses = read_statuses(connection)
        now = database_now(connection)
    figures = [_status_figures(source, statuses.get(source.name), now) for source in found]
    if as_json:
        echo_json(figures)
        return
    echo("\n".join(_status_text(row) for row in figures))


@sources.command("check")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
def check_sources(names: tuple[str, ...], *, as_json: bool) -> None:
    """Try each NAME (default: every source) against the ERP, without recording anything.

    Exit status 1 if one of them can't be read as it is.
    """
    settings = get_settings()
    chosen = choose_sources(read_sources(settings), names)
    with connect_erp(settings) as erp:
        checks = [check_source(erp, source) for source in chosen]
    if as_json:
        echo_json([_check_figures(check) for check in checks])
    else:
        echo("\n".join(map(_check_line, checks)))
    if any(check.problems for check in checks):
        raise SystemExit(1)


@sources.command("run")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_as_json
@click.pass_context
def run_sources(context: click.Context, names: tuple[str, ...], *, as_json: bool) -> None:
    """Read each NAME (default: every source) now, to the end; what is known already is recognised.

    Exit status: 0 everything is in, 3 some rows were rejected (`sources rejects` shows why), 1 a source couldn't be
    read.
    """
    settings = get_settings()
    chosen = choose_sources(read_sources(settings), names)
    require_erp_url(settings)
    results: list[SourceResult] = []
    failed = False
    with connect(settings, autocommit=True) as connection:
        for source in chosen:
            try:
                results.append(record_source(connection, settings, source, progress=_progress_lines()))
            except DatabaseUnreachableError:
                raise
            except AnalyticsError as error:
                failed = True
                echo(f"Error: {error}", err=True)
    if as_json:
        echo_json([_figures(result) for result in results])
    else:
        echo("\n".join(map(_line, results)))
    if failed:
        context.exit(1)
    if any(result.rejected for result in results):
        context.exit(SOME_REJECTED)


@sources.command("rejects")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, _MAX_REJECTS), default=100, show_default=True, help="Show at most.")
@_as_json
def list_rejects(name: str | None, limit: int, *, as_json: bool) -> None:
    """Show rows that are not events, newest first, of the source NAME or of all: key, since when, why."""
    with connect(autocommit=True) as connection:
        found = open_rejects(connection, name, limit)
    if not found:
        _require_known(name)
    if as_json:
        echo_json([_reject_figures(reject) for reject in found])
        return
    for reject in found:
        echo(f"{reject.source}  {reject.source_key}  since {_instant(reject.first_seen)}\n    {reject.reason}")
    echo(f"{len(found):,} rows are rejected{f', or more: --limit {limit}' if len(found) == limit else ''}.")


@sources.command("accept")
@click.argument("name")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Every rejected row of the source.")
def accept(name: str, keys: tuple[str, ...], *, everything: bool) -> None:
    """Record rejected rows of the source NAME as they are now, in place of the events their keys had.

    For rows that changed after they were recorded, and rightly so: they are rejected until somebody decides. Closed
    partitions they touch are closed again by the sensor late_events.
    """
    if bool(keys) == everything:
        raise click.UsageError("Name the keys to accept, as 'analytics-pipeline sources rejects' shows them, or --all.")
    with connect(autocommit=True) as connection:
        found = {reject.source_key: reject for reject in open_rejects(connection, name, _MAX_REJECTS)}
        if not found:
            _require_known(name)
        for key in keys:
            if key not in found:
                raise UnknownNameError(
                    f"No rejected row of {name} has the key {key!r}: see 'analytics-pipeline sources rejects {name}'."
                )
        count = accept_rows(connection, [found[key] for key in dict.fromkeys(keys)] or list(found.values()))
    echo(f"{count:,} rows accepted.")


@sources.command("reset")
@click.argument("name")
@click.option(
    "--since",
    type=INSTANT,
    required=True,
    help="When the rows changed in the ERP, UTC: 2025-01-01 or 2025-01-01T06:00.",
)
def reset_source(name: str, since: datetime) -> None:
    """Have the source NAME read again from a time on; what is known already is recognised.

    Before the first run it says where the history begins. Nothing is deleted.
    """
    (source,) = choose_sources(read_sources(get_settings()), [name])
    with connect(autocommit=True) as connection:
        reset(connection, source, since)
    echo(f"{name} is read again from {since:%Y-%m-%d %H:%M} UTC on, by the next run.")


def _require_known(name: str | None) -> None:
    """Raise ``UnknownNameError`` for a source that there is no file of: it may have had rows, and has none."""
    if name is not None:
        choose_sources(read_sources(get_settings()), [name])


def _progress_lines() -> Callable[[SourceResult], None]:
    printed = time.monotonic()

    def show(result: SourceResult) -> None:
        nonlocal printed
        if time.monotonic() - printed >= _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            echo(_line(result), err=True)

    return show


def _line(result: SourceResult) -> str:
    if result.taken_over:
        return f"{result.source}: another run has begun to read it and goes on, this one stopped"
    return (
        f"{result.source}: {result.read:,} read, {result.new:,} new, {result.already_there:,} already there, "
        f"{result.rejected:,} rejected{_because(result.reasons.most_common(3))}{_not_kept(result)}"
    )


def _not_kept(result: SourceResult) -> str:
    return f"; {result.not_kept:,} of them are only counted" if result.not_kept else ""


def _because(reasons: Iterable[tuple[str, int]]) -> str:
    listed = ", ".join(f"{reason} ({count:,})" for reason, count in reasons)
    return f": {listed}" if listed else ""


def _figures(result: SourceResult) -> dict[str, Any]:
    return {
        "source": result.source,
        "read": result.read,
        "new": result.new,
        "alreadyThere": result.already_there,
        "rejected": result.rejected,
        **({"notKept": result.not_kept} if result.not_kept else {}),
        "reasons": dict(result.reasons.most_common()),
        "first": _instant(result.first),
        "last": _instant(result.last),
        "cursor": _instant(result.cursor_at),
        "readUntil": _instant(result.read_until),
        "complete": result.is_complete,
        "seconds": round(result.seconds, 3),
    }


def _status_figures(source: ErpSource, status: SourceStatus | None, now: datetime) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "source": source.name,
        "description": source.description,
        "overlapSeconds": round(source.overlap.total_seconds()),
    }
    if status is None:
        times = dict.fromkeys(("cursor", "readUntil", "lagSeconds", "lastRun"))
        counts = dict.fromkeys(("recorded", "openRejects", "lastRead", "lastNew", "failures"), 0)
        return figures | times | counts | {"lastError": None}
    until = status.complete_until
    return figures | {
        "cursor": _instant(status.cursor_at),
        "readUntil": _instant(until),
        "lagSeconds": None if until is None else max(0, round((now - until).total_seconds())),
        "lastRun": _instant(status.started_at),
        "recorded": status.total_new,
        "openRejects": status.open_rejects,
        "lastRead": status.last_read,
        "lastNew": status.last_new,
        # One that was taken over or killed counts until the next one comes to its end.
        "failures": status.failures,
        "lastError": status.last_error,
    }


def _status_text(row: dict[str, Any]) -> str:
    lines = [f"{row['source']}: {row['description']}"]
    if row["readUntil"] is None:
        lines.append("never read to the end")
    else:
        lines.append(
            f"{row['recorded']:,} events, {row['openRejects']:,} rows rejected; cursor {row['cursor'] or 'none'}, "
            f"lag {_span(row['lagSeconds'])}; last run {row['lastRun']}: {row['lastRead']:,} read, "
            f"{row['lastNew']:,} new"
        )
    if row["lastError"]:
        lines.append(f"failed {row['failures']} times in a row: {row['lastError']}")
    return "\n    ".join(lines)


def _check_figures(check: SourceCheck) -> dict[str, Any]:
    return {
        "source": check.source,
        "columns": check.columns,
        "triedRows": check.tried_rows,
        "problems": check.problems,
    }


def _check_line(check: SourceCheck) -> str:
    if check.problems:
        return "\n    ".join([f"{check.source}: can't be read as it is", *check.problems])
    return f"{check.source}: good, {check.tried_rows} rows tried"


def _reject_figures(reject: SourceReject) -> dict[str, Any]:
    return {
        "source": reject.source,
        "key": reject.source_key,
        "reason": reject.reason,
        "row": reject.row,
        "firstSeen": _instant(reject.first_seen),
        "lastSeen": _instant(reject.last_seen),
        "retryAt": _instant(reject.retry_at),
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _span(seconds: int) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
