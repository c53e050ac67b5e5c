"""Runs databases and Dagster in the foreground until Ctrl-C."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.instance import enter_dagster_environment
from analytics_pipeline.settings import Settings, get_settings
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
    for note in migrate(settings).notes:
        click.echo(f"note     {note}")
    enter_dagster_environment(settings)
    _require_storage(settings)
    environment = dict(os.environ)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    # Socket paths are short by nature: not under a home that may be deep.
    runtime = Path(tempfile.mkdtemp(prefix="analytics-up-"))
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        code_socket = runtime / "code.sock"
        running["code server"] = _start(_code_server(settings, code_socket), environment)
        _wait_for(code_socket, running)
        for name, module in _services(settings, runtime, code_socket, port).items():
            running[name] = _start(module, environment)
        click.echo(f"Dagster is starting: http://127.0.0.1:{port} (Ctrl-C stops everything)")
        _wait_until_one_ends(running)
    except KeyboardInterrupt:
        click.echo("\nStopping Dagster and the databases ...")
    finally:
        for service in reversed(running.values()):
            _stop(service)
        shutil.rmtree(runtime, ignore_errors=True)
        if settings.database_url is None:
            EmbeddedTimescale(settings.home).stop()
        if settings.dagster_postgres_url is None:
            EmbeddedPostgres(settings.home).stop()


def _require_storage(settings: Settings) -> None:
    # Dagster takes a second to import, and only reads its environment then.
    from analytics_pipeline.orchestration.storage import require_storage

    require_storage(settings)


def _code_server(settings: Settings, code_socket: Path) -> list[str]:
    definitions = ["-m", "analytics_pipeline.definitions", "--location-name", settings.code_location]
    return ["dagster", "api", "grpc", "--socket", str(code_socket), *definitions]


def _services(settings: Settings, runtime: Path, code_socket: Path, port: int) -> dict[str, list[str]]:
    """Return webserver and daemon, which share the code server."""
    workspace = runtime / "workspace.yaml"
    server = f"{{socket: {code_socket}, location_name: {settings.code_location}}}"
    workspace.write_text(f"load_from: [{{grpc_server: {server}}}]\n", encoding="utf-8")
    return {
        "webserver": ["dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)],
        "daemon": ["dagster._daemon", "run", "-w", str(workspace)],
    }


def _start(module: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches this process alone, which then stops the services in order.
    # The instance's folder as the current one: Dagster warns of a dagster.yaml beside the one it uses.
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        env=environment,
        cwd=environment["DAGSTER_HOME"],
        start_new_session=True,
    )


def _wait_for(code_socket: Path, running: dict[str, subprocess.Popen[bytes]]) -> None:
    """Wait until the code server listens: started earlier, the others would report it missing."""
    while not code_socket.exists():
        _require_running(running)
        time.sleep(_POLL_SECONDS)


def _wait_until_one_ends(running: dict[str, subprocess.Popen[bytes]]) -> None:
    while True:
        _require_running(running)
        time.sleep(_POLL_SECONDS)


def _require_running(running: dict[str, subprocess.Popen[bytes]]) -> None:
    for name, service in running.items():
        if service.poll() is not None:
            raise AnalyticsError(
                f"Dagster's {name} ended by itself with status {service.returncode}: see its messages above."
            )


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
