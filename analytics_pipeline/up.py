"""Runs databases and Dagster in the foreground until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys

import click

from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.instance import dagster_environment, project_file
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.migrations import migrate

_STOP_SECONDS = 30


def run_up(port: int) -> None:
    """Start everything, print the address of the UI, and stop everything on Ctrl-C or SIGTERM.

    Raises ``AnalyticsError`` when the port is taken or Dagster ends by itself.
    """
    settings = get_settings()
    _require_free(port)
    click.echo("Starting the databases ...")
    migrate(settings)
    environment = {**os.environ, **dagster_environment(settings)}
    command = [sys.executable, "-m", "dagster", "dev", "-w", str(project_file("workspace.yaml"))]
    # A session of its own: Ctrl-C reaches this process alone, which then stops Dagster in order.
    dagster = subprocess.Popen([*command, "-h", "127.0.0.1", "-p", str(port)], env=environment, start_new_session=True)
    click.echo(f"Dagster is starting: http://127.0.0.1:{port} (Ctrl-C stops everything)")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = dagster.wait()
    except KeyboardInterrupt:
        click.echo("\nStopping Dagster and the databases ...")
        _stop(dagster)
        code = 0
    finally:
        if settings.database_url is None:
            EmbeddedTimescale(settings.home).stop()
        if settings.dagster_postgres_url is None:
            EmbeddedPostgres(settings.home).stop()
    if code:
        raise AnalyticsError(f"Dagster ended by itself with status {code}: see its messages above.")


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise AnalyticsError(f"Port {port} is taken: choose another with --port.") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
