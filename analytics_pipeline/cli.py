"""The ``analytics-pipeline`` command: thin wrappers around what the rooms offer."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import psycopg

from analytics_pipeline.alerts.cli import alerts
from analytics_pipeline.api.cli import serve, token
from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.doctor import doctor
from analytics_pipeline.embedded import TCP_PORT, EmbeddedTimescale
from analytics_pipeline.erp.cli import sources
from analytics_pipeline.errors import AnalyticsError, UnknownNameError
from analytics_pipeline.events.cli import ingest, record
from analytics_pipeline.events.ids_cli import ids
from analytics_pipeline.fx.cli import fx
from analytics_pipeline.messages.outbox_cli import outbox
from analytics_pipeline.messages.recipients_cli import recipients
from analytics_pipeline.metrics.access_cli import access
from analytics_pipeline.metrics.cli import metrics
from analytics_pipeline.policies_command import policies
from analytics_pipeline.reports.cli import report
from analytics_pipeline.sample.cli import sample
from analytics_pipeline.settings import get_settings
from analytics_pipeline.signals import describing, end_if_interrupted
from analytics_pipeline.terminal import echo
from analytics_pipeline.text import printable
from analytics_pipeline.timescale.connection import connect
from analytics_pipeline.timescale.migrations import migrate
from analytics_pipeline.timescale.server import server_info
from analytics_pipeline.windows import Window

# As --help and the remedies of checks write them; close refuses what is no full hour.
_INSTANTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")


class _UnknownName(click.ClickException):
    exit_code = 2


class _Commands(click.Group):
    """Turns the errors a user can mend into one line and exit status 1, or 2 where an argument names nothing."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the arguments; what is said of a wrong one quotes it without its control characters."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:
            _make_printable(error)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            end_if_interrupted()
            _make_printable(error)
            raise
        except Exception:
            # What an interrupted statement leaves behind may look like an error.
            end_if_interrupted()
            raise

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnknownNameError as error:
            raise _UnknownName(str(error)) from error
        except AnalyticsError as error:
            raise click.ClickException(str(error)) from error
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.UndefinedFunction,
            psycopg.errors.UndefinedObject,
        ) as error:
            raise click.ClickException(
                f"{error.diag.message_primary}: this database lacks the schema of this version; run "
                "'analytics-pipeline db migrate'."
            ) from error
        except psycopg.OperationalError as error:
            raise click.ClickException(f"The database went away: {str(error).strip().splitlines()[0]}") from error


def _make_printable(error: click.ClickException) -> None:
    """Escape the control characters of arguments and data that a message quotes; click's own ones do so raw."""
    vars(error)["message"] = printable(error.message)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="analytics_pipeline")
def main() -> None:
    """Analytics of a crypto-ERP on Dagster and TimescaleDB.

    Without ANALYTICS_DATABASE_URL every command works on the embedded database under ANALYTICS_HOME
    (default .local/), which starts on demand.

    SIGTERM and Ctrl-C end a command within seconds, with status 143 and 130: what runs is cancelled, what was
    committed stays.
    """


main.add_command(ingest)
main.add_command(record)
main.add_command(ids)
main.add_command(sources)
main.add_command(sample)
main.add_command(metrics)
main.add_command(access)
main.add_command(fx)
main.add_command(report)
main.add_command(recipients)
main.add_command(outbox)
main.add_command(alerts)
main.add_command(serve)
main.add_command(token)
main.add_command(doctor)


@main.group()
def db() -> None:
    """Start, stop and migrate the database, show its state, change its policies."""


db.add_command(policies)


@db.command("start")
@click.option(
    "--tcp",
    "tcp_port",
    is_flag=False,
    flag_value=TCP_PORT,
    type=click.IntRange(1, 65535),
    metavar="[PORT]",
    help=f"Also listen on this port of 127.0.0.1 (default {TCP_PORT}), with a generated password.",
)
def db_start(*, tcp_port: int | None) -> None:
    """Start the embedded TimescaleDB; harmless when it runs."""
    settings = get_settings()
    if settings.database_url is not None:
        raise AnalyticsError(
            "ANALYTICS_DATABASE_URL names a server of its own: unset it to start the embedded database."
        )
    embedded = EmbeddedTimescale(settings.home, tcp_port=tcp_port or TCP_PORT)
    embedded.start(tcp=tcp_port is not None)
    echo(f"TimescaleDB is running: {embedded.status().url}")
    if tcp_port is not None:
        echo(f"Over TCP: postgresql://postgres@127.0.0.1:{tcp_port}/postgres?sslmode=disable")
        echo(f"Its password is in {embedded.password_file}")


@db.command("stop")
def db_stop() -> None:
    """Stop the embedded databases under ANALYTICS_HOME, whatever else is configured; harmless when none runs."""
    from analytics_pipeline.embedded import EmbeddedPostgres

    home = get_settings().home
    timescale, storage = EmbeddedTimescale(home), EmbeddedPostgres(home)
    stopped, errors = [], []
    for name, stop in (("TimescaleDB", timescale.stop), ("Dagster's storage", storage.stop)):
        try:
            stopped += [name] if stop() else []
        except AnalyticsError as error:
            errors.append(str(error))
    if errors:
        raise AnalyticsError(" ".join(errors))
    echo(f"Stopped: {' and '.join(stopped)}." if stopped else f"No embedded database runs under {home}.")


@db.command("migrate")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def db_migrate(*, as_json: bool) -> None:
    """Bring the schema to this version; safe to repeat.

    A new database gets the policies that ANALYTICS_RETENTION, ANALYTICS_COMPRESS_AFTER and ANALYTICS_REFRESH_OWNER
    ask for. Those of an existing one stay as they are: "db policies" shows and changes them.

    What stands already is left alone, without a lock. What changes waits for other sessions two seconds at a time, so
    that nobody queues behind it for longer, names them, and stops after ANALYTICS_LOCK_TIMEOUT seconds.
    """
    report = migrate()
    if as_json:
        echo(json.dumps(asdict(report)))
        return
    for name in report.applied:
        echo(f"applied  {name}")
    for part in report.renewed:
        echo(f"renewed  {part}")
    for change in report.policy_changes:
        echo(f"policy   {change.procedure} on {change.relation}: {change.action}")
    for note in report.notes:
        echo(f"note     {note}")
    echo(
        f"{len(report.applied)} migrations applied, {report.already_applied} were there; "
        f"{len(report.policy_changes)} policies changed."
    )


@db.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
def db_status(*, as_json: bool) -> None:
    """Show which database this is and how it is; exit status 1 when it does not run."""
    settings = get_settings()
    if settings.database_url is None:
        embedded = EmbeddedTimescale(settings.home).status()
        status = {name: str(value) for name, value in asdict(embedded).items() if value is not None}
        running = embedded.state == "running"
    else:
        with connect(settings) as connection:
            info = server_info(connection)
        status = {
            "state": "running",
            "server": describe_url(settings.database_url.get_secret_value()),
            "timescaledb": info.timescaledb_version,
            "postgresql": info.postgres_version,
            "licence": info.license,
        }
        running = True
    echo(json.dumps(status) if as_json else "\n".join(f"{k:<14}{v}" for k, v in status.items()))
    if not running:
        raise SystemExit(1)


@main.command("close")
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


@main.command("demo")
@click.option(
    "--events",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Load this file instead of sample events.",
)
@click.option("--months", type=click.IntRange(1, 120), default=13, show_default=True, help="Months of sample events.")
@click.option("--companies", type=click.IntRange(1, 100), default=5, show_default=True, help="Companies in the sample.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Size of the sample; 1.0 is 250,000 events.")
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


@main.command("up")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the Dagster UI.")
def up(port: int) -> None:
    """Start the databases and Dagster (UI, daemon, code location) and watch them; Ctrl-C stops all of it.

    The console shows the address of the UI, warnings and errors; all else is in logs/up.log under ANALYTICS_HOME. A
    part that ends is started again, and one that ends again and again ends all of it, with status 1. A home has one
    "up". Databases that ran before, or that another command uses, go on running.
    """
    from analytics_pipeline.up import run_up

    run_up(port)


@main.command("env")
def env() -> None:
    r"""Print the variables that a hand-started Dagster needs, as shell code.

    Use it as: eval "$(analytics-pipeline env)" && dagster dev -w workspace.yaml
    """
    import shlex

    from analytics_pipeline.orchestration.instance import dagster_environment

    for name, value in dagster_environment(get_settings()).items():
        echo(f"export {name}={shlex.quote(value)}")
