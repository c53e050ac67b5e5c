"""``analytics-pipeline db policies``: what the database wants of its policies, what it has, and changing it."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import click

from analytics_pipeline.ages import require_age
from analytics_pipeline.cli.terminal import confirm, echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.expiry import archive_record, has_archive
from analytics_pipeline.timescale.invalidation import stale_ranges
from analytics_pipeline.timescale.policies import (
    APPLY,
    PolicyChange,
    PolicyRecord,
    PolicyValues,
    change_policies,
    droppable_events,
    policy_differences,
    policy_records,
    policy_values,
    preview_policies,
    read_policies,
)
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Granularity, Window

_ORIGINS = {
    "environment": "from the environment when the database was new",
    "adopted": "as the database had it",
    "command": "by this command",
}


def _age(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return require_age(value)
    except ValueError as error:
        raise click.UsageError(f"{parameter.opts[0]} {error}.") from error


@click.command("policies")
@click.option("--retention", callback=_age, help="Age at which raw events are dropped: '2 years', or never.")
@click.option("--compress-after", callback=_age, help="Age at which chunks are compressed: '30 days', or never.")
@click.option(
    "--refresh-owner",
    type=click.Choice(["dagster", "timescaledb"]),
    help="Who refreshes the open tail of the continuous aggregates; timescaledb from 2.26.3 on.",
)
@click.option("--apply", "apply_wanted", is_flag=True, help="Bring back policies that were changed or removed by hand.")
@click.option("--yes", is_flag=True, help="Change without asking, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print policies and changes as JSON.")
def policies(
    *,
    retention: str | None,
    compress_after: str | None,
    refresh_owner: str | None,
    apply_wanted: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show the policies that the database wants and has, or change them.

    What is wanted is kept in the database, with who set it. A change shows what it does, what would be dropped
    first of all, and asks. The environment counts for a new database only.
    """
    options = {"retention": retention, "compress_after": compress_after, "refresh_owner": refresh_owner}
    asked = {name: value for name, value in options.items() if value is not None}
    with connect(autocommit=True) as connection:
        if not asked and not apply_wanted:
            _print_state(connection, as_json=as_json)
            return
        server = server_info(connection)
        current = policy_values(connection)
        preview = preview_policies(connection, server, asked)
        drop = None
        if any(change.drops_events for change in preview):
            drop = _first_drop(connection, asked.get("retention", current.retention))
        _print_preview(current, asked, preview, drop, is_archived=has_archive(connection), err=as_json)
        if preview or _changed(current, asked):
            confirm("Change the policies?", yes=yes)
        changes = change_policies(connection, server, asked, expected=current)
        if as_json:
            done = {"changes": [asdict(change) for change in changes], "drops": drop and asdict(drop)}
            echo_json(_state(connection) | done)
        else:
            echo(f"{len(changes)} policies changed." if changes else "The policies were so already.")


@dataclass(frozen=True, slots=True)
class _Drop:
    """What the first run of a retention policy will drop; ``unclosed`` are the months with events that
    some figure lacks."""

    chunks: int
    start: datetime
    end: datetime
    events: int
    unclosed: Window | None


def _changed(current: PolicyValues, asked: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return old and new value of each name that gets another one."""
    return {name: (getattr(current, name), new) for name, new in asked.items() if new != getattr(current, name)}


def _first_drop(connection: Connection, retention: str) -> _Drop | None:
    found = droppable_events(connection, retention)
    if found.first is None or found.last is None:
        return None
    query = 'SELECT count(*) FROM analytics_events WHERE "timestamp" >= %s AND "timestamp" < %s'
    (events,) = fetch_row(connection, query, [found.first, found.last])
    unclosed = _unclosed_span(connection, Window(found.first, found.last))
    return _Drop(found.chunks, found.first, found.last, events, unclosed)


def _print_preview(
    current: PolicyValues,
    asked: dict[str, str],
    preview: list[PolicyChange],
    drop: _Drop | None,
    *,
    is_archived: bool,
    err: bool,
) -> None:
    """Print what a change would do, with ``err`` to standard error: standard output may be one JSON object."""
    for name, (old, new) in _changed(current, asked).items():
        echo(f"{_title(name):<15} {old} -> {new}", err=err)
    for change in preview:
        echo(f"{change.procedure} on {change.relation}: {change.action}", err=err)
    if drop is None:
        return
    first = ", once they are in the archive" if is_archived else ""
    echo(f"DROPS           {drop.events:,} raw events of [{drop.start:%Y-%m-%d}, {drop.end:%Y-%m-%d}){first}", err=err)
    if drop.unclosed is not None:
        start, end = drop.unclosed.start, drop.unclosed.end
        echo(
            f"NOT CLOSED      events of [{start:%Y-%m-%d}, {end:%Y-%m-%d}) would be missing from the figures for ever. "
            f"Close them first: analytics-pipeline close --start {start:%Y-%m-%d} --end {end:%Y-%m-%d}",
            err=err,
        )


def _unclosed_span(connection: Connection, window: Window) -> Window | None:
    """Return the whole months from the first to the last event of a window that some aggregate has not stored."""
    stale = {(r.first, r.last) for r in stale_ranges(connection, window)}
    if not stale:
        return None
    first, last = fetch_row(
        connection,
        'SELECT min("timestamp"), max("timestamp") FROM analytics_events AS e, '
        "unnest(%s::timestamptz[], %s::timestamptz[]) AS stale (first_instant, last_instant) "
        'WHERE e."timestamp" BETWEEN first_instant AND last_instant AND e."timestamp" >= %s AND e."timestamp" < %s',
        [[low for low, _ in stale], [high for _, high in stale], window.start, window.end],
    )
    return (
        None
        if first is None
        else Window(Granularity.MONTH.floor(first), Granularity.MONTH.next(Granularity.MONTH.floor(last)))
    )


def _print_state(connection: Connection, *, as_json: bool) -> None:
    state = _state(connection)
    if as_json:
        echo_json(state)
        return
    for record in policy_records(connection).values():
        echo(f"{_title(record.name):<15} {record.value:<12} {_describe(record)}")
    echo("\nin the database")
    for policy in read_policies(connection):
        echo(f"  {policy.procedure} on {policy.relation}: {policy}")
    if archive := archive_record(connection):
        echo(f"Events are dropped by way of the archive at {archive.location}, not by the retention policy.")
    for text in state["differences"]:
        echo(f"NOT AS WANTED   {text}")
    echo(f"To apply what is wanted: {APPLY}" if state["differences"] else "All of them are as wanted.")


def _state(connection: Connection) -> dict[str, Any]:
    values = policy_values(connection)
    return {
        "wanted": {name: asdict(record) for name, record in policy_records(connection).items()},
        "found": [policy.as_json() for policy in read_policies(connection)],
        "differences": [difference.text for difference in policy_differences(connection, values)],
    }


def _title(name: str) -> str:
    return name.replace("_", " ")


def _describe(record: PolicyRecord) -> str:
    return f"set {record.set_at:%Y-%m-%d %H:%M} UTC by {record.set_by} ({record.client}), {_ORIGINS[record.origin]}"
