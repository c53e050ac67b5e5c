"""``analytics-pipeline prune``: makes Dagster's own storage smaller, without un-materialising a partition."""

import re

import click

from analytics_pipeline.ages import NEVER, require_age
from analytics_pipeline.cli.numbers import describe_bytes
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import confirm, echo, echo_json
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing

_DAYS = re.compile(r"([1-9]\d{0,5})d")


def _age(_context: click.Context, parameter: click.Parameter, value: str) -> str:
    days = _DAYS.fullmatch(value)
    if days is not None:
        return f"{days[1]} days"
    try:
        if require_age(value) != NEVER:
            return value
    except ValueError:
        pass
    raise click.UsageError(f"{parameter.opts[0]} must look like 90d, '90 days' or '1 year', not {value!r}.")


@click.command("prune", epilog=examples("prune", "prune --older-than 30d --full --yes"))
@click.option("--older-than", default="90d", show_default=True, callback=_age, help="Age of what goes: 90d, '1 year'.")
@click.option("--full", is_flag=True, help="Also give the room back to the disk; Dagster waits meanwhile.")
@click.option("--yes", is_flag=True, help="Go on without asking, for scripts.")
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted as JSON.")
def prune(*, older_than: str, full: bool, yes: bool, as_json: bool) -> None:
    """Delete what old runs over partitions have left in Dagster, where all of their partitions are closed.

    Their events, results of checks and the runs themselves go, but the newest materialisation of each partition, with
    its run, and the newest result of each check: every closed partition is seen as materialised afterwards. Runs over
    anything that is not closed stay whole, and so do those of other jobs. Says what goes first, and asks.
    """
    settings = get_settings()

    from analytics_pipeline.orchestration.instance import enter_dagster_environment

    enter_dagster_environment(settings)
    from analytics_pipeline.orchestration.pruning import pruning_with_instance

    with (
        pruning_with_instance(settings, older_than) as found,
        describing(lambda: "what was deleted is deleted, nothing is un-materialised; the same command goes on."),
    ):
        before = found.prunable()
        echo(
            f"Of Dagster's storage, {describe_bytes(before.bytes)}, goes what is older than {older_than}: "
            f"{before.events:,} of {before.all_events:,} events, {before.checks:,} of {before.all_checks:,} results of "
            f"checks, {before.runs:,} of {before.all_runs:,} runs.",
            err=as_json,
        )
        is_something = before.events or before.checks or before.runs
        if is_something or full:
            confirm("Delete them?" if is_something else "Give the room back?", yes=yes)
            found.delete(lambda table, rows: echo(f"{table}: {rows:,} deleted", err=True))
            found.vacuum(full=full)
        after = found.measure()
    if as_json:
        echo_json(
            {
                "events": before.events,
                "checks": before.checks,
                "runs": before.runs,
                "bytesBefore": before.bytes,
                "bytesAfter": after,
            }
        )
        return
    room = "" if full else " The room is used again; --full gives it back to the disk."
    echo(f"{describe_bytes(before.bytes)} before, {describe_bytes(after)} now.{room}")
