"""The command ``archive``: events beyond retention, what is there, whether it is whole, and bringing it back."""

from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import click

from analytics_pipeline.archive.archiving import ArchiveRun, archive_and_drop
from analytics_pipeline.archive.computing import compute_from_archive
from analytics_pipeline.archive.restoring import Restored, release_months, restore_months
from analytics_pipeline.archive.verifying import ArchiveStatus, archive_status, verify_archive
from analytics_pipeline.cli.dates import optional_span_options, span_options
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.health.check_result import close_command
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.expiry import Hold
from analytics_pipeline.windows import Window

_json_option = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.group(epilog=examples("archive status", "archive restore --month 2023-01", "archive release"))
def archive() -> None:
    """Keep events in a Delta table before retention drops them, and bring them back.

    The table is in the folder or object store that ANALYTICS_ARCHIVE names. From the first run on the database has an
    archive: nothing is dropped then that is not proved to be in it.
    """


@archive.command("status")
@_json_option
def status_command(*, as_json: bool) -> None:
    """Show what the archive holds, what waits, what came late, and what is held; exit status 1 if it can't be read."""
    with connect(autocommit=True) as connection:
        found = archive_status(connection, get_settings())
    if as_json:
        echo_json(_status_json(found))
    else:
        _print_status(found)
    if found.problem is not None:
        raise SystemExit(1)


@archive.command("run")
@_json_option
def run_command(*, as_json: bool) -> None:
    """Write what is about to expire into the archive, prove it, and drop what has expired; Dagster does it each day.

    Without ANALYTICS_ARCHIVE nothing is dropped. Exit status 1 if the database has an archive then, or if something
    could not be archived.
    """
    with connect(autocommit=True) as connection, describing(lambda: "what was dropped is in the archive; repeat it."):
        run = archive_and_drop(connection, get_settings(), _say)
    if as_json:
        echo_json(_run_json(run))
    else:
        _print_run(run)
    if run.problems or (run.why is not None and run.location is not None and not get_settings().archive):
        raise SystemExit(1)


@archive.command("verify")
@optional_span_options
@_json_option
def verify_command(*, span: Window | None, as_json: bool) -> None:
    """Read the archive again and compare it with what was proved of it; exit status 1 for a difference.

    A range of which a file is missing or can't be read differs, too; the others are read nevertheless.
    Of a span, whole ranges that it touches are read; a range is a chunk's, as a rule a week.
    """
    with connect(autocommit=True) as connection:
        found = verify_archive(connection, get_settings(), span, _say)
    if as_json:
        echo_json(asdict(found) | {"seconds": round(found.seconds, 1)})
    else:
        for difference in found.differences:
            echo(f"DIFFERS   {difference}")
        echo(f"{found.ranges} ranges hold what was proved, {found.events:,} events; {found.seconds:.1f} s.")
        if found.unfinished:
            echo(f"{found.unfinished} ranges were being written and are not proved yet: analytics-pipeline archive run")
        if found.unreadable:
            echo(f"{found.unreadable} ranges can't be read whole; events in no range were not looked for.")
    if found.differences:
        raise SystemExit(1)


@archive.command("restore")
@span_options
@_json_option
def restore_command(*, span: Window, as_json: bool) -> None:
    """Bring the months of a span back into the database, so that they can be closed again.

    Whole months, whatever the span is, and some days about them. They are held from retention until "archive release".
    Months after them that stand on them and have expired, too, have to come back as well if they are to follow.
    """
    with connect(autocommit=True) as connection, describing(lambda: "what came back stays; the same command goes on."):
        restored = restore_months(connection, get_settings(), span, _say)
    if as_json:
        echo_json(_restored_json(restored))
    else:
        _print_restored(restored, span)


@archive.command("release")
@optional_span_options
@_json_option
def release_command(*, span: Window | None, as_json: bool) -> None:
    """Let retention have what was brought back: all of it, or what overlaps a span.

    The next run of the archive drops it; what has changed meanwhile is written to the archive before.
    """
    with connect(autocommit=True) as connection:
        released = release_months(connection, span)
    if as_json:
        echo_json({"released": list(map(_hold_json, released))})
        return
    for hold in released:
        echo(f"released {hold.months}")


@archive.command("compute", epilog=examples("archive compute analytics_revenue_monthly --month 2023-01"))
@click.argument("name", type=click.Choice([aggregate.name for aggregate in AGGREGATES]), metavar="NAME")
@span_options
@_json_option
def compute_command(name: str, *, span: Window, as_json: bool) -> None:
    """Compute the aggregate NAME for a half-open span of whole buckets from the archived events, by DuckDB.

    Nothing is brought back or changed. The rows are those that TimescaleDB would give, to the last digit, a line each.
    Needs DuckDB (the extra "engines").
    """
    aggregate = next(aggregate for aggregate in AGGREGATES if aggregate.name == name)
    with connect(autocommit=True) as connection:
        rows = compute_from_archive(connection, get_settings(), aggregate, span)
    if as_json:
        columns = aggregate.columns
        echo_json({"aggregate": name, "rows": [dict(zip(columns, row, strict=True)) for row in rows]})
        return
    for row in rows:
        named = zip(aggregate.columns, row, strict=True)
        echo("  ".join(f"{column}={_plain(value)}" for column, value in named if value is not None))


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%f}".removesuffix(".000000") + "Z"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _say(line: str) -> None:
    echo(f"{datetime.now(UTC):%H:%M:%S}  {line}", err=True)


def _print_status(found: ArchiveStatus) -> None:
    if found.location is None:
        where = f"will begin at {found.setting}" if found.setting else "ANALYTICS_ARCHIVE names no place for one"
        echo(f"This database has no archive: {where}.")
        return
    echo(f"archive         {found.location}")
    if found.problem is not None:
        echo(f"NOT READABLE    {found.problem}")
    elif found.version is not None:
        echo(f"version         {found.version}")
    span = f" of [{found.first:%Y-%m-%d}, {found.last:%Y-%m-%d})" if found.first and found.last else ""
    echo(f"holds           {found.events:,} events{span} in {found.ranges} ranges, {found.only_there} of them it alone")
    if found.late_events:
        echo(
            f"came late       {found.late_events:,} events after theirs had been dropped, last {found.late_at:%Y-%m-%d}"
        )
    echo(f"retention       {found.retention}: {found.waiting} chunks have expired and wait, {found.held} are held")
    for hold in found.holds:
        state = "can be closed" if hold.restored_at else "is not back yet: repeat archive restore"
        echo(f"held            {hold.months} {state}")


def _print_run(run: ArchiveRun) -> None:
    if run.why is not None:
        echo(run.why)
    if run.location is None or (run.why is not None and not run.archived):
        return
    echo(
        f"{len(run.archived)} chunks are in the archive at {run.location}, {run.events:,} events written; "
        f"{len(run.dropped)} chunks dropped, {len(run.held)} held, {len(run.changed)} left because they have changed."
    )
    for problem in run.problems:
        echo(f"NOT ARCHIVED    {problem}")
    if run.late:
        echo(f"{run.late:,} events came in after theirs had been dropped: they are in the archive, and in no figure.")


def _print_restored(restored: Restored, span: Window) -> None:
    if restored.is_widened:
        echo(f"Whole months are brought back: {restored.months} for {span}.")
    echo(f"{restored.events:,} events of {restored.ranges} ranges are back; {restored.months} is held from retention.")
    if restored.left_columns:
        echo(f"Left in the archive, for this database lacks the columns: {', '.join(restored.left_columns)}.")
    echo(f"To close it again: {close_command(restored.months)}")
    if later := restored.later:
        bounds = f"--start {later.start:%Y-%m-%d} --end {later.end:%Y-%m-%d}"
        echo(
            "Months after it stand on it. If its figures change, bring those of them back, too, that are to follow: "
            f"they have expired up to {later.end:%Y-%m-%d} and can't be closed as they are."
        )
        echo(f"To bring back all of them: analytics-pipeline archive restore {bounds}")
    echo("Then: analytics-pipeline archive release")


def _status_json(found: ArchiveStatus) -> dict[str, Any]:
    return {
        "location": found.location,
        "setting": found.setting,
        "begunAt": found.begun_at,
        "completeFrom": found.complete_from,
        "version": found.version,
        "problem": found.problem,
        "ranges": found.ranges,
        "rangesOnlyThere": found.only_there,
        "events": found.events,
        "start": found.first,
        "end": found.last,
        "lateEvents": found.late_events,
        "lateAt": found.late_at,
        "retention": found.retention,
        "chunksWaiting": found.waiting,
        "chunksHeld": found.held,
        "holds": list(map(_hold_json, found.holds)),
    }


def _run_json(run: ArchiveRun) -> dict[str, Any]:
    return {
        "location": run.location,
        "why": run.why,
        **{name: list(map(_window_json, getattr(run, name))) for name in ("archived", "dropped", "held", "changed")},
        "problems": run.problems,
        "eventsWritten": run.events,
        "lateEvents": run.late,
        "seconds": round(run.seconds, 1),
    }


def _restored_json(restored: Restored) -> dict[str, Any]:
    return {
        **_window_json(restored.months),
        "isWidened": restored.is_widened,
        "events": restored.events,
        "ranges": restored.ranges,
        "leftColumns": list(restored.left_columns),
        "later": None if restored.later is None else _window_json(restored.later),
        "seconds": round(restored.seconds, 1),
    }


def _hold_json(hold: Hold) -> dict[str, Any]:
    return {**_window_json(hold.months), "askedAt": hold.asked_at, "restoredAt": hold.restored_at}


def _window_json(window: Window) -> dict[str, Any]:
    return {"start": window.start, "end": window.end}
