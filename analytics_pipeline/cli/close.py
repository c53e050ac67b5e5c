"""The commands that close a span, and that mark in Dagster what is closed."""

import json
from datetime import UTC, datetime

import click

from analytics_pipeline.cli.terminal import echo
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing
from analytics_pipeline.windows import Window

# As --help and the remedies of checks write them; close refuses what is no full hour.
_INSTANTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")


@click.command("close")
@click.option(
    "--start",
    type=click.DateTime(_INSTANTS),
    required=True,
    help="First instant, UTC: 2025-01-01 or 2025-01-01T06:00.",
)
@click.option("--end", type=click.DateTime(_INSTANTS), required=True, help="First instant after the span, UTC.")
@click.option("--json", "as_json", is_flag=True, help="Print the closed ranges as JSON.")
def close(start: datetime, end: datetime, *, as_json: bool) -> None:
    """Close every hour, day and month that lies within the half-open span, through Dagster.

    Hours come before days before months, each range reconciled with the raw events; the runs show in
    the Dagster UI. Closing again what is closed is harmless. The database's clock decides what has ended:
    the rest stays open, and all of it while this machine's clock is more than five minutes off.
    """
    if end <= start:
        raise AnalyticsError(f"--end {end:%Y-%m-%dT%H:%M} must come after --start {start:%Y-%m-%dT%H:%M}.")
    settings = get_settings()
    span = Window(start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))

    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    from analytics_pipeline.orchestration.close import close_with_instance

    with describing(lambda: "what was closed stays closed; the same command closes the rest."):
        closed = close_with_instance(settings, span, lambda run: echo(str(run), err=as_json))
    if as_json:
        echo(json.dumps([run.as_json() for run in closed]))


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
        echo(json.dumps(marked))
        return
    for asset, partitions in marked.items():
        if partitions:
            echo(f"{asset:<34}{partitions:>8,}")
    echo(f"{sum(marked.values()):,} closed partitions were marked as materialised.")
