"""The commands on the database itself: start, stop, migrate, status; others are in ``policies``, ``maintenance``."""

import os
from dataclasses import asdict

import click

from analytics_pipeline.cli.maintenance import (
    compress_command,
    decompress_command,
    explain_command,
    rebuild_command,
    refresh_command,
)
from analytics_pipeline.cli.policies import policies
from analytics_pipeline.cli.program import examples
from analytics_pipeline.cli.terminal import echo, echo_json
from analytics_pipeline.database import connect, database_url, migrate
from analytics_pipeline.database_urls import describe_url, url_environment
from analytics_pipeline.embedded import TCP_PORT, EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.server import server_info


@click.group()
def db() -> None:
    """Start, stop and migrate the database, show its state, change its policies, maintain it by hand."""


for command in (policies, refresh_command, rebuild_command, compress_command, decompress_command, explain_command):
    db.add_command(command)


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


@db.command(
    "psql",
    context_settings={"ignore_unknown_options": True},
    epilog=examples("db psql -c 'TABLE analytics_operations_lag'"),
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT]...")
def db_psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the database in use, the embedded one included; ARGUMENTs are psql's."""
    environment = {**os.environ, **url_environment(database_url())}
    try:
        os.execvpe("psql", ["psql", *arguments], environment)  # noqa: S606, S607  # the psql of whoever calls
    except FileNotFoundError as error:
        raise AnalyticsError("There is no psql on this machine: install PostgreSQL's client programs.") from error


@db.command("migrate")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def db_migrate(*, as_json: bool) -> None:
    """Bring the schema to this version; safe to repeat.

    A new database gets the policies that ANALYTICS_RETENTION, ANALYTICS_COMPRESS_AFTER and ANALYTICS_REFRESH_OWNER
    ask for. Those of an existing one stay as they are: "db policies" shows and changes them.

    An aggregate whose declaration has changed stays as it is, too, and is named: "db rebuild" brings it there.

    What stands already is left alone, without a lock. What changes waits for other sessions two seconds at a time, so
    that nobody queues behind it for longer, names them, and stops after ANALYTICS_LOCK_TIMEOUT seconds.
    """
    report = migrate()
    if as_json:
        echo_json(asdict(report))
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
        status = {name: value for name, value in asdict(embedded).items() if value is not None}
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
    if as_json:
        echo_json(status)
    else:
        echo("\n".join(f"{name:<14}{value}" for name, value in status.items()))
    if not running:
        raise SystemExit(1)
