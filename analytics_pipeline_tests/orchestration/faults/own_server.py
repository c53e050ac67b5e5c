"""A PostgreSQL with TimescaleDB that a test may kill: nobody else's, made for it and removed with it.

``ANALYTICS_FAULTS_PG_BIN`` names the folder of its programs (``initdb``, ``postgres``); without it they are looked for
where packages put them. Where there are none with TimescaleDB, ``why_not`` says so, and the tests are skipped.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import psycopg

from analytics_pipeline.embedded import run_as

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")
_NOBODY = 65_534
_STARTS_WITHIN = 60
_SETTINGS = {
    "listen_addresses": "''",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "shared_buffers": "64MB",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    "max_worker_processes": "24",
    "timescaledb.max_background_workers": "8",
}


@cache
def programs() -> Path | None:
    """Return the folder of a PostgreSQL that has TimescaleDB, None where there is none."""
    if named := os.environ.get("ANALYTICS_FAULTS_PG_BIN"):
        return Path(named)
    found = [path for place in _PLACES for path in sorted(Path("/").glob(place[1:]), reverse=True)]
    on_path = shutil.which("pg_config")
    found += [Path(on_path).parent] if on_path else []
    return next((folder for folder in found if _has_timescaledb(folder)), None)


def why_not() -> str:
    """Return why there is no server that a test may kill, nothing where there is one."""
    if programs() is not None:
        return ""
    return "no PostgreSQL with TimescaleDB on this machine: ANALYTICS_FAULTS_PG_BIN may name the folder of one"


def _has_timescaledb(folder: Path) -> bool:
    if not (folder / "initdb").exists():
        return False
    config = [str(folder / "pg_config"), "--pkglibdir"]
    with suppress(OSError, subprocess.CalledProcessError):
        library = subprocess.run(config, capture_output=True, text=True, check=True).stdout.strip()
        return (Path(library) / "timescaledb.so").exists()
    return False


class OwnServer:
    """A server in a folder of its own, on a Unix socket that only this user can reach: ``folder``, and ``data``."""

    def __init__(self, data: Path | None = None, **settings: str) -> None:
        """Make the data directory, in ``data`` or in the folder, and start the server."""
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        self.data = self.folder / "data" if data is None else data / "data"
        self._log = self.folder / "server.log"
        self._settings = {**_SETTINGS, "unix_socket_directories": f"'{self.folder}'", **settings}
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            for folder in {self.folder, self.data.parent}:
                os.chown(folder, _NOBODY, _NOBODY)
        self._make_data()
        self.start()

    @property
    def url(self) -> str:
        """The URL of the database ``postgres`` for its superuser."""
        return f"postgresql://postgres@/postgres?host={self.folder}"

    @property
    def log(self) -> str:
        """What the server has logged."""
        return self._log.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it unless it runs, and wait until it takes connections."""
        deadline = time.monotonic() + _STARTS_WITHIN
        while not self._answers():
            if not self.is_running:
                settings = [f"--{name}={value.strip(chr(39))}" for name, value in self._settings.items()]
                with self._log.open("ab") as log:
                    command = self._command("postgres", "-D", str(self.data), *settings)
                    self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)
            assert time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a machine that loses its power does: nothing it runs gets to do anything more."""
        assert self._process is not None
        children = _children(self._process.pid)
        for pid in (self._process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """Stop it, and remove all of it."""
        if self.is_running:
            self.kill()
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_data(self) -> None:
        initdb = [
            "initdb",
            "-D",
            str(self.data),
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
        ]
        subprocess.run(self._command(*initdb), check=True, capture_output=True, cwd="/")

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=5):
            return True
        return False

    def _command(self, program: str, *arguments: str) -> list[str]:
        folder = programs()
        assert folder is not None
        command = [str(folder / program), *arguments]
        if os.geteuid() != 0:
            return command
        return [sys.executable, "-I", "-S", str(run_as.__file__), str(_NOBODY), "1", *command]


class Standby(OwnServer):
    """A physical replica of another one, which streams from it."""

    def __init__(self, primary: OwnServer, **settings: str) -> None:
        """Copy the primary's data while it runs, and start."""
        self._primary = primary
        super().__init__(None, **settings)

    def _make_data(self) -> None:
        with psycopg.connect(self._primary.url, autocommit=True) as connection:
            connection.execute("SELECT pg_backup_start('standby', fast => true)")
            subprocess.run(["cp", "-a", str(self._primary.data), str(self.data)], check=True)
            row = connection.execute("SELECT labelfile FROM pg_backup_stop()").fetchone()
        assert row is not None
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.data / "backup_label").write_text(row[0])
        (self.data / "standby.signal").touch()
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = 'host={self._primary.folder} user=postgres'\n")
        if os.geteuid() == 0:
            for name in ("backup_label", "standby.signal"):
                os.chown(self.data / name, _NOBODY, _NOBODY)


def _children(parent: int) -> list[int]:
    """Return the processes that a process has started, and what those have."""
    with suppress(FileNotFoundError):
        below = [
            int(pid)
            for task in Path(f"/proc/{parent}/task").iterdir()
            for pid in re.findall(r"\d+", (task / "children").read_text())
        ]
        return [*below, *(pid for child in below for pid in _children(child))]
    return []


def own_server(data: Path | None = None, **settings: str) -> Iterator[OwnServer]:
    """Yield a server, and remove it: what a fixture returns."""
    server = OwnServer(data, **settings)
    try:
        yield server
    finally:
        server.remove()
