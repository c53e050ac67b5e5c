"""The commands that close a span, and that mark in Dagster what is closed."""

import click

from analytics_pipeline.cli.dates import span_options
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.signals import describing
from analytics_pipeline.windows import Window


@click.command(
    "close",
    epilog=examples(
        "close --month 2025-01",
        "close --start 2025-01-01 --end 2025-02-01",
        "close --month 2025-01 --dry-run",
        "close --start 2025-01-31T06:00 --end 2025-01-31T12:00 --json",
    ),
)
@span_options
@click.option("--dry-run", is_flag=True, help="Say what would be closed and how long it may take; change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the closed ranges as JSON.")
def close(*, span: Window, dry_run: bool, as_json: bool) -> None:
    """Close every hour, day and month that lies within the half-open span, through Dagster.

    Hours come before days before months, each range reconciled with the raw events; the runs show in
    the Dagster UI. Closing again what is closed is harmless. The database's clock decides what has ended:
    the rest stays open, and all of it while this machine's clock is more than five minutes off.
    """
    settings = get_settings()

    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    if dry_run:
        _preview(settings, span, as_json=as_json)
        return
    from analytics_pipeline.orchestration.close import close_with_instance

    with describing(lambda: "what was closed stays closed; the same command closes the rest."):
        closed = close_with_instance(settings, span, lambda run: echo(str(run), err=as_json))
    if as_json:
        echo_json([run.as_json() for run in closed])


def _preview(settings: Settings, span: Window, *, as_json: bool) -> None:
    from analytics_pipeline.orchestration.close_preview import preview_with_instance

    preview = preview_with_instance(settings, span)
    if as_json:
        echo_json(
            {
                "ranges": [planned.as_json() for planned in preview.ranges],
                "leftOut": preview.left_out,
                "underWay": preview.under_way,
                "failed": preview.failed,
                "seconds": preview.seconds,
            }
        )
        return
    for planned in preview.ranges:
        echo(planned)
    for label, sentences in (
        ("LEFT OUT  ", preview.left_out),
        ("UNDER WAY ", preview.under_way),
        ("FAILED    ", preview.failed),
    ):
        for sentence in sentences:
            echo(f"{label}  {sentence}")
    duration = "an unknown time" if preview.seconds is None else f"about {preview.seconds:.0f} s"
    echo(f"{len(preview.ranges)} runs, {duration}. Nothing was changed.")


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
