"""The commands that run everything on this machine: demo, up, and env for a Dagster that is started by hand."""

import shlex
import sys
from pathlib import Path

import click
import psycopg

from analytics_pipeline.cli.numbers import SCALE
from analytics_pipeline.cli.program import NAME, program
from analytics_pipeline.cli.terminal import echo
from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError, first_line
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.signals import describing

UI_PORT, API_PORT = 3000, 8000


@click.command("demo")
@click.option(
    "--events",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Load this file instead of sample events.",
)
@click.option("--months", type=click.IntRange(1, 120), default=13, show_default=True, help="Months of sample events.")
@click.option("--companies", type=click.IntRange(1, 100), default=5, show_default=True, help="Companies in the sample.")
@click.option("--scale", type=SCALE, default=1.0, show_default=True, help="Size of the sample; 1.0 is 250,000 events.")
@click.option(
    "--seed",
    type=int,
    default=7,
    show_default=True,
    help="Seed of the sample: the same seed, the same events.",
)
@click.option("--yes", is_flag=True, help="Load into a database of ANALYTICS_DATABASE_URL that already holds events.")
def demo(*, events: Path | None, months: int, companies: int, scale: float, seed: int, yes: bool) -> None:
    """Run the main job once: events, closed partitions, checks, a PDF report."""
    from analytics_pipeline.demo import SampleSize, run_demo

    with describing(lambda: "the demo is not complete; the same command goes on."):
        run_demo(events, SampleSize(months, companies, scale, seed), confirmed=yes)


@click.command("up")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=UI_PORT, show_default=True, help="Port of the Dagster UI."
)
@click.option(
    "--api-port",
    type=click.IntRange(1, 65535),
    default=API_PORT,
    show_default=True,
    help="Port of the API and the dashboard page.",
)
def up(port: int, api_port: int) -> None:
    """Start the databases, Dagster (UI, daemon, code location) and the API and watch them; Ctrl-C stops all of it.

    The console shows the addresses, warnings and errors; all else is in logs/up.log under ANALYTICS_HOME. A
    part that ends is started again, and one that ends again and again ends all of it, with status 1. A home has one
    "up". Databases that ran before, or that another command uses, go on running.
    """
    from analytics_pipeline.up import run_up

    run_up(port, api_port)


@click.command("env", epilog=f'\b\nExample:\n  eval "$({program()} env)" && dagster dev -w workspace.yaml')
def env() -> None:
    """Print the variables that a hand-started Dagster needs, as shell code; this command is on the PATH then, too.

    Where Dagster's storage can't be reached, the shell code fails: what follows it is not run.
    """
    from analytics_pipeline.orchestration.instance import dagster_environment

    settings = get_settings()
    try:
        _require_storage(settings)
    except AnalyticsError:
        echo("false")
        raise
    for name, value in dagster_environment(settings).items():
        echo(f"export {name}={shlex.quote(value)}")
    if program() != NAME:
        echo(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')


def _require_storage(settings: Settings) -> None:
    """Raise ``DatabaseUnreachableError`` for a server that can't be reached: Dagster says so in 200 lines."""
    if settings.dagster_postgres_url is None:
        return
    url = settings.dagster_postgres_url.get_secret_value()
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        reason = first_line(error).removeprefix("connection failed: ")
        raise DatabaseUnreachableError(
            f"Can't connect to Dagster's storage {describe_url(url)}: {reason}. Check DAGSTER_POSTGRES_URL and the "
            "server."
        ) from error
