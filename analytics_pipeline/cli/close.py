"""The commands that close a span, and that mark in Dagster what is closed."""

from datetime import date, datetime

import click

from analytics_pipeline.cli.dates import INSTANT, MONTH
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing
from analytics_pipeline.windows import Window


@click.command(
    "close",
    epilog=examples(
        "close --month 2025-01",
        "close --start 2025-01-01 --end 2025-02-01",
        "close --start 2025-01-31T06:00 --end 2025-01-31T12:00 --json",
    ),
)
@click.option("--month", type=MONTH, help="A whole month, 2025-01, for --start and --end.")
@click.option("--start", type=INSTANT, help="First instant (UTC): 2025-01-01 or 2025-01-01T06:00.")
@click.option("--end", type=INSTANT, help="First instant after the span (UTC): 2025-02-01 is the end of January.")
@click.option("--json", "as_json", is_flag=True, help="Print the closed ranges as JSON.")
def close(month: date | None, start: datetime | None, end: datetime | None, *, as_json: bool) -> None:
    """Close every hour, day and month that lies within the half-open span, through Dagster.

    Hours come before days before months, each range reconciled with the raw events; the runs show in
    the Dagster UI. Closing again what is closed is harmless. The database's clock decides what has ended:
    the rest stays open, and all of it while this machine's clock is more than five minutes off.
    """
    span = _span(month, start, end)
    settings = get_settings()

    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    from analytics_pipeline.orchestration.close import close_with_instance

    with describing(lambda: "what was closed stays closed; the same command closes the rest."):
        closed = close_with_instance(settings, span, lambda run: echo(str(run), err=as_json))
    if as_json:
        echo_json([run.as_json() for run in closed])


def _span(month: date | None, start: datetime | None, end: datetime | None) -> Window:
    if month is not None and (start or end):
        raise click.UsageError("Give either --month, or --start and --end.")
    if month is not None:
        return Window.of_month(month)
    if start is None or end is None:
        raise click.UsageError("Say what to close: --month 2025-01, or both --start and --end.")
    if end <= start:
        raise click.UsageError(f"--end {end:%Y-%m-%dT%H:%M} must come after --start {start:%Y-%m-%dT%H:%M}.")
    return Window(start, end)


@click.command("adopt")
@click.option("--json", "as_json", is_flag=True, help="Print how many partitions of each asset as JSON.")
def adopt(*, as_json: bool) -> None:
    """Mark in Dagster what the database has closed, without computing it again.

    For a Dagster storage that is new because the old one was lost, or was left out of a restore. Harmless when
    repeated.
    """
    settings = get_settings()

    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    from analytics_pipeline.orchestration.adopt import adopt_with_instance

    with describing(lambda: "what was marked stays; the same command marks the rest."):
        marked = adopt_with_instance(settings)
    if as_json:
        echo_json(marked)
        return
    for asset, partitions in marked.items():
        if partitions:
            echo(f"{asset:<34}{partitions:>8,}")
    echo(f"{sum(marked.values()):,} closed partitions were marked as materialised.")
