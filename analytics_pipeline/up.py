"""Runs databases and Dagster in the foreground until Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time

import click

from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.instance import dagster_environment, project_file
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.migrations import migrate

_STOP_SECONDS = 30
_POLL_SECONDS = 0.5


def run_up(port: int) -> None:
    """Start everything, print the address of the UI, and stop everything on Ctrl-C or SIGTERM.

    Raises ``AnalyticsError`` when the port is taken or a part of Dagster ends by itself.
    """
    settings = get_settings()
    _require_free(port)
    click.echo("Starting the databases ...")
    migrate(settings)
    environment = {**os.environ, **dagster_environment(settings)}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    workspace = ["-w", str(project_file("workspace.yaml"))]
    services = {
        "webserver": ["dagster_webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)],
        "daemon": ["dagster._daemon", "run", *workspace],
    }
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, module in services.items():
            running[name] = _start(module, environment)
        click.echo(f"Dagster is starting: http://127.0.0.1:{port} (Ctrl-C stops everything)")
        _wait_until_one_ends(running)
    except KeyboardInterrupt:
        click.echo("\nStopping Dagster and the databases ...")
    finally:
        for service in reversed(running.values()):
            _stop(service)
        if settings.database_url is None:
            EmbeddedTimescale(settings.home).stop()
        if settings.dagster_postgres_url is None:
            EmbeddedPostgres(settings.home).stop()


def _start(module: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which then stops the services in order.
    # The instance's folder as the current one: Dagster warns of a dagster.yaml beside the one it uses.
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        env=environment,
        cwd=environment["DAGSTER_HOME"],
        start_new_session=True,
    )


def _wait_until_one_ends(running: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        for name, service in running.items():
            if service.poll() is not None:
                raise AnalyticsError(
                    f"Dagster's {name} ended by itself with status {service.returncode}: see its messages above."
                )
        time.sleep(_POLL_SECONDS)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise AnalyticsError(f"Port {port} is taken: choose another with --port.") from error


def _stop(service: subprocess.Popen[bytes]) -> None:
    if service.poll() is None:
        os.killpg(service.pid, signal.SIGINT)
    try:
        service.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(service.pid, signal.SIGKILL)
        service.wait()
