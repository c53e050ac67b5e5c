"""Runs databases and Dagster in the foreground, and watches them, until Ctrl-C."""

import json
import os
import shutil
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analytics_pipeline import signals
from analytics_pipeline.database import migrate
from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.orchestration.instance import enter_dagster_environment
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.supervisor.claim import ClaimFile, claim_home
from analytics_pipeline.supervisor.output import Output
from analytics_pipeline.supervisor.parts import Database, Service, Watch

if TYPE_CHECKING:
    from analytics_pipeline.orchestration.runs.cancellation import ServerRuns

# Together less than a command may take to end, see ``signals``.
_STOP_SERVICES_SECONDS = 3.0
_STOP_DATABASE_SECONDS = 1.5
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of this machine: Dagster's UI, and the API with its page."""

    ui: int
    api: int

    def probed(self) -> tuple[str, str]:
        """Return addresses that answer once their programs run."""
        return f"http://127.0.0.1:{self.ui}/server_info", f"http://127.0.0.1:{self.api}/healthz"


def run_up(port: int, api_port: int) -> None:
    """Start everything, print the addresses of UI and page, and watch it; stop everything on Ctrl-C or SIGTERM.

    Raises ``AnalyticsError`` when the home has an ``up`` already, the port is taken, or a part does not start or
    ends again and again.
    """
    settings = get_settings()
    address = f"http://127.0.0.1:{port}"
    # Socket paths are short by nature: not under a home that may be deep.
    folder = Path(tempfile.mkdtemp(prefix="analytics-up-"))
    try:
        with signals.describing(lambda: "Dagster is stopped."), claim_home(settings.home, address, folder) as claim:
            _require_free(port, "--port")
            _require_free(api_port, "--api-port")
            output = Output(settings.home / "logs" / "up.log")
            with _databases(settings, output) as databases:
                _serve(settings, Ports(port, api_port), folder, claim, output, databases)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _databases(settings: Settings, output: Output) -> Iterator[list[Database]]:
    """Start the embedded databases that the settings ask for, and stop what was started here and nobody else uses."""
    databases = []
    if settings.database_url is None:
        databases.append(Database("TimescaleDB", EmbeddedTimescale(settings.home)))
    if settings.dagster_postgres_url is None:
        databases.append(Database("storage of Dagster", EmbeddedPostgres(settings.home)))
    output.say("Starting the databases ...")
    try:
        for database in databases:
            database.start()
        for note in migrate(settings).notes:
            output.say(f"note     {note}")
        enter_dagster_environment(settings)
        _require_storage(settings)
        yield databases
    finally:
        for database in databases:
            if (reason := database.stop(timeout=_STOP_DATABASE_SECONDS)) is not None:
                output.note(f"The {database.name} keeps running: {reason}. 'analytics-pipeline db stop' ends it.")


def _serve(
    settings: Settings, ports: Ports, folder: Path, claim: ClaimFile, output: Output, databases: list[Database]
) -> None:
    """Run Dagster's programs until this process is asked to end or one of the parts won't run."""
    code_socket = folder / "code.sock"
    # Each program is known by the folder, should it be left running.
    environment = {**os.environ, "ANALYTICS_UP_FOLDER": str(folder)}
    code_server = Service(
        "code server",
        _code_server(settings, code_socket),
        environment,
        output,
        # Left by one that was killed, it would be in the way.
        before=lambda: code_socket.unlink(missing_ok=True),
    )
    programs = _programs(settings, folder, code_socket, ports)
    services = [code_server, *(Service(name, module, environment, output) for name, module in programs.items())]

    def note_services() -> None:
        claim.note_services({service.name: service.pid for service in services if service.pid is not None})

    def kill() -> None:
        for service in services:
            service.signal(signal.SIGKILL)

    runs: ServerRuns | None = None
    try:
        with signals.leaving_nothing(kill):
            output.say(f"Starting Dagster ... (its log: {output.path})")
            # It makes the tables of a new storage: the programs, which begin together, would collide.
            runs = _runs_of(settings, code_socket)
            code_server.start()
            note_services()
            # Started earlier, the others would report it missing.
            while not code_socket.exists():
                _require_running([code_server], output)
                time.sleep(_POLL_SECONDS)
            for service in services[1:]:
                service.start()
            note_services()
            while not all(_answers(address) for address in ports.probed()):
                _require_running(services, output)
                time.sleep(_POLL_SECONDS)
            _announce(settings, ports, services, databases, output)
            watch = Watch([*databases, *services], output.note)
            while True:
                for part in watch.check():
                    note_services()
                    output.note(f"The {part.name} runs again.")
                time.sleep(_POLL_SECONDS)
    finally:
        _stop(services, runs, output)


def _runs_of(settings: Settings, code_socket: Path) -> "ServerRuns":
    # Now, and not when everything has to end: Dagster takes seconds to import.
    from dagster import DagsterInstance

    from analytics_pipeline.orchestration.runs.cancellation import ServerRuns

    return ServerRuns(DagsterInstance.get(), settings, code_socket)


def _announce(
    settings: Settings, ports: Ports, services: list[Service], databases: list[Database], output: Output
) -> None:
    names = [*(f"{database.name} (embedded)" for database in databases), *(service.name for service in services)]
    output.say(f"\nDagster's UI is at http://127.0.0.1:{ports.ui}")
    output.say(f"The API and its page are at http://127.0.0.1:{ports.api}\n")
    output.say(f"  running   {', '.join(names)}")
    output.say(f"  data      {settings.home}")
    output.say(f"  log       {output.path}")
    output.say("\nWarnings and errors are shown here. Ctrl-C stops all of it.\n")


def _stop(services: list[Service], runs: "ServerRuns | None", output: Output) -> None:
    """Cancel the runs that are executed here, and end the programs, of which the code server comes first."""
    number = signals.received()
    output.note(f"Stopping Dagster{'' if number is None else f' ({number.name})'} ...")
    # Nobody starts a run from now on; those that are executed end with the code server.
    for service in services[1:]:
        service.signal(signal.SIGINT)
    # Whatever the storage says, the programs are ended.
    with suppress(Exception):
        if runs is not None and (count := runs.ask_to_end()):
            output.note(f"{count} runs are cancelled.")
    ends_at = time.monotonic() + _STOP_SERVICES_SECONDS
    services[0].signal(signal.SIGINT)
    for service in reversed(services):
        service.wait(ends_at - time.monotonic())
    if runs is not None:
        with suppress(Exception):
            runs.mark_ended()


def _require_storage(settings: Settings) -> None:
    # Dagster takes a second to import, and only reads its environment then.
    from analytics_pipeline.orchestration.runs.dagster_storage import require_storage

    require_storage(settings)


def _code_server(settings: Settings, code_socket: Path) -> list[str]:
    definitions = ["-m", "analytics_pipeline.definitions", "--location-name", settings.code_location]
    return ["dagster", "api", "grpc", "--socket", str(code_socket), *definitions]


def _programs(settings: Settings, folder: Path, code_socket: Path, ports: Ports) -> dict[str, list[str]]:
    """Return daemon and web server, which share the code server, and the API, which asks the database alone."""
    workspace = folder / "workspace.yaml"
    server = {"socket": str(code_socket), "location_name": settings.code_location}
    # JSON is YAML, whatever characters the name has.
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}), encoding="utf-8")
    return {
        "daemon": ["dagster._daemon", "run", "-w", str(workspace)],
        "web server": ["dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(ports.ui)],
        "API": ["analytics_pipeline", "serve", "--port", str(ports.api)],
    }


def _require_running(services: list[Service], output: Output) -> None:
    """Raise ``AnalyticsError`` for one that has ended before everything has started."""
    for service in services:
        if (reason := service.ended()) is not None:
            raise AnalyticsError(f"Dagster's {service.name} {reason}. See {output.path}.")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310  # an address of ours
            return bool(answer.status == 200)  # noqa: PLR2004
    except (OSError, urllib.error.URLError):
        return False


def _require_free(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise AnalyticsError(f"Port {port} is taken: choose another with {option}.") from error
