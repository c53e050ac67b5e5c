"""The commands of "db" that maintain by hand what policies and closing maintain: a refresh, compression, plans."""

from collections.abc import Callable

import click

from analytics_pipeline.cli.dates import span_options
from analytics_pipeline.cli.numbers import describe_bytes
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import confirm, echo, echo_json
from analytics_pipeline.database import connect
from analytics_pipeline.operations.explain import explain, parameters_of
from analytics_pipeline.operations.hand_refresh import HandRefresh, refresh_by_hand
from analytics_pipeline.operations.rebuild import RebuiltAggregate, rebuild
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing
from analytics_pipeline.sql_files import queries
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.chunks import Chunk, chunks_of, compress, compressed_by_policy, decompress
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window

_BY_NAME = {aggregate.name: aggregate for aggregate in AGGREGATES}


@click.command("refresh", epilog=examples("db refresh analytics_revenue_daily --month 2025-01"))
@click.argument("name", type=click.Choice(list(_BY_NAME)), metavar="NAME")
@span_options
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def refresh_command(name: str, *, span: Window, as_json: bool) -> None:
    """Refresh the aggregate NAME for a half-open span of whole buckets, as closing does.

    Never behind the retention horizon, and nothing that has not ended. What is built on it is stale then, which is
    said: "close" does all levels in order, and proves them.
    """
    settings = get_settings()
    with (
        connect(autocommit=True) as connection,
        describing(lambda: "the months refreshed so far stay; the same command refreshes all of them."),
    ):
        done = refresh_by_hand(connection, _BY_NAME[name], span, settings.base_currency)
    if as_json:
        echo_json(_refreshed(done))
        return
    result = done.result
    for stale in result.invalidated:
        echo(f"stale  {stale.first:%Y-%m-%d %H:%M:%S} to {stale.last:%Y-%m-%d %H:%M:%S} UTC")
    stale_ranges = len(result.invalidated)
    found = {0: "Nothing was stale", 1: "One range was stale"}.get(stale_ranges, f"{stale_ranges} ranges were stale")
    echo(
        f"{found}; {name} holds {result.rows:,} rows for {result.events:,} events in {result.window}, "
        f"{result.seconds:.1f} s."
    )
    if done.stale_above:
        start, end = done.span_to_close.start, done.span_to_close.end
        echo(
            f"Stale above it: {', '.join(done.stale_above)}. The sensor late_events closes that again, where it was "
            f"closed; at once: analytics-pipeline close --start {start:%Y-%m-%dT%H:%M} --end {end:%Y-%m-%d}"
        )


def _refreshed(done: HandRefresh) -> dict[str, object]:
    result = done.result
    return {
        "aggregate": result.aggregate,
        "start": result.window.start,
        "end": result.window.end,
        "rows": result.rows,
        "events": result.events,
        "seconds": round(result.seconds, 3),
        "stale": [{"first": stale.first, "last": stale.last} for stale in result.invalidated],
        "staleAbove": done.stale_above,
    }


@click.command("rebuild", epilog=examples("db rebuild analytics_user_activity_monthly"))
@click.argument("name", type=click.Choice(list(_BY_NAME)), metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON.")
def rebuild_command(name: str, *, as_json: bool) -> None:
    """Bring the aggregate NAME, and those built on it, to their declarations, after an upgrade has changed them.

    The new one is filled beside the old one, which readers see until both change names. Rows whose events have expired
    are carried over: a column that is new is null there. Grants, comments, indexes, policies and views on it stay. It
    takes the room of both meanwhile, and can be repeated after an interruption.
    """
    with (
        connect(autocommit=True) as connection,
        describing(
            lambda: (
                f"whoever reads {name} has a whole one; what was computed stays, and the same command does the rest."
            )
        ),
    ):
        done = rebuild(
            connection,
            _BY_NAME[name],
            lambda relation, month: echo(f"{relation}  {month.start:%Y-%m}", err=as_json),
        )
    if as_json:
        echo_json({"rebuilt": list(map(_rebuilt, done))})
        return
    for rebuilt in done:
        computed = f"{rebuilt.computed} was computed" if rebuilt.computed else "nothing was to be computed"
        echo(
            f"{rebuilt.name} is rebuilt: {computed}, {rebuilt.carried_rows:,} rows before the retention horizon were "
            "carried over."
        )
        for window in rebuilt.changed:
            echo(f"changed  {window}: what is built on it is computed again by the sensor late_events.")
    if not done:
        echo(f"{name} is as declared: nothing was to be done.")


def _rebuilt(done: RebuiltAggregate) -> dict[str, object]:
    return {
        "aggregate": done.name,
        "start": done.computed.start if done.computed else None,
        "end": done.computed.end if done.computed else None,
        "carriedRows": done.carried_rows,
        "changed": [{"start": window.start, "end": window.end} for window in done.changed],
    }


@click.command("compress", epilog=examples("db compress --month 2025-01"))
@span_options
@click.option("--yes", is_flag=True, help="Go on without asking, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print the chunks before and after as JSON.")
def compress_command(*, span: Window, yes: bool, as_json: bool) -> None:
    """Compress the chunks of raw events that touch a half-open span, one by one.

    Those that are compressed are left alone. Each is a transaction of its own: what an interruption leaves is
    compressed or not, and the same command does the rest.
    """
    _change_chunks(span, compress, to_compressed=True, yes=yes, as_json=as_json)


@click.command("decompress", epilog=examples("db decompress --start 2025-01-01 --end 2025-01-08"))
@span_options
@click.option("--yes", is_flag=True, help="Go on without asking, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print the chunks before and after as JSON.")
def decompress_command(*, span: Window, yes: bool, as_json: bool) -> None:
    """Decompress the chunks of raw events that touch a half-open span, one by one.

    Before many old events are changed, say. The compression policy compresses them again in its next run, which is
    said: "db policies --compress-after" changes it. Otherwise as "db compress".
    """
    _change_chunks(span, decompress, to_compressed=False, yes=yes, as_json=as_json)


def _change_chunks(
    span: Window, change: Callable[[Connection, Chunk], Chunk], *, to_compressed: bool, yes: bool, as_json: bool
) -> None:
    wanted, other = ("compressed", "decompressed")[:: 1 if to_compressed else -1]
    with connect(autocommit=True) as connection:
        chunks = chunks_of(connection, span)
        to_change = [chunk for chunk in chunks if chunk.is_compressed is not to_compressed]
        for chunk in chunks:
            echo(f"{_described(chunk)}  {'' if chunk in to_change else 'as wanted'}".rstrip(), err=as_json)
        changed: list[Chunk] = []
        again: list[Chunk] = []
        if to_change:
            again = [] if to_compressed else compressed_by_policy(connection, to_change)
            if again:
                echo(
                    f"The compression policy compresses {len(again)} of them again in its next run. To keep them: "
                    "analytics-pipeline db policies --compress-after never",
                    err=as_json,
                )
            confirm(f"Have {len(to_change)} of {len(chunks)} chunks {wanted}?", yes=yes)
        with describing(
            lambda: f"{len(changed)} of {len(to_change)} chunks were {wanted}; the same command does the rest."
        ):
            for chunk in to_change:
                changed.append(change(connection, chunk))
                echo(f"{_described(changed[-1])}  was {other}, {describe_bytes(chunk.bytes)}", err=as_json)
    if as_json:
        before = {chunk.name: chunk for chunk in to_change}
        echo_json(
            {
                "chunks": [
                    {"chunk": c.name, "start": c.window.start, "end": c.window.end, "before": before[c.name].bytes}
                    | {"after": c.bytes, "compressedAgain": before[c.name] in again}
                    for c in changed
                ],
                "alreadyAsWanted": len(chunks) - len(to_change),
            }
        )
    elif not chunks:
        echo(f"No chunk of raw events touches {span}.")
    elif not to_change:
        echo(f"All {len(chunks)} chunks are {wanted}.")
    else:
        sizes = [describe_bytes(sum(chunk.bytes for chunk in some)) for some in (to_change, changed)]
        echo(f"{wanted.capitalize()}: {len(changed)} of {len(chunks)} chunks, {sizes[0]} before, {sizes[1]} now.")


def _described(chunk: Chunk) -> str:
    state = "compressed" if chunk.is_compressed else "not compressed"
    return f"{chunk.window}  {describe_bytes(chunk.bytes):>10}  {state:<14}"


@click.command(
    "explain",
    epilog=examples(
        "db explain",
        "db explain droppable_chunks drop_after='2 years'",
        "db explain backup_events start=2025-01-01 end=2025-02-01 --analyze",
    ),
)
@click.argument("name", required=False)
@click.argument("parameters", nargs=-1, metavar="[PARAMETER=VALUE]...")
@click.option("--analyze", is_flag=True, help="Run it, read-only, for the true numbers.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan and the chunks as JSON.")
def explain_command(name: str | None, parameters: tuple[str, ...], *, analyze: bool, as_json: bool) -> None:
    """Show how the database runs the query NAME of sql/queries, and how many chunks of each hypertable that scans.

    Without NAME: the queries there are, with their parameters. A value is a text as psql takes it, {a,b} an array,
    nothing NULL. Figures are computed in functions, into which a plan does not look: with --analyze the chunks are
    those that were read, by functions too.
    """
    if name is None:
        listed = {known: parameters_of(known) for known in queries()}
        if as_json:
            echo_json(listed)
        else:
            for known, wanted in listed.items():
                echo(" ".join([known, *(f"{parameter}=" for parameter in wanted)]))
        return
    given = {}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        if not equals:
            raise click.UsageError(f"PARAMETER {parameter!r} has no value: write it like start=2025-01-01.")
        if key in given:
            raise click.UsageError(f"PARAMETER {key!r} is given more than once: give each one once.")
        given[key] = value or None
    with connect(autocommit=True) as connection:
        explanation = explain(connection, name, given, analyze=analyze)
    if as_json:
        echo_json({"plan": explanation.plan, "chunks": explanation.scanned})
        return
    for line in explanation.plan:
        echo(line)
    for scanned in explanation.scanned:
        echo(f"{scanned.relation}: {scanned.scanned} of {scanned.chunks} chunks are scanned.")
    if not explanation.scanned:
        echo("No chunk is scanned." if analyze else "The plan names no chunk; --analyze counts what functions read.")
