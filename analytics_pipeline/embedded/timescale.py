"""The embedded TimescaleDB: one server process per home folder, started when it is needed.

The server is a Node process (``node/server.mjs``) that lives on when this process ends. It is the
only one on its data directory, because it inherits the locked file this module opened; it
says in a state file what it is doing, in a log file what happened, and in a pipe why it didn't start.
"""

import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from analytics_pipeline.embedded.engine import SOURCES, ensure_engine, node_binary, node_environment
from analytics_pipeline.embedded.files import (
    ROOM,
    ROOM_FOR_NEW,
    hold_use,
    is_locked,
    lines_since,
    private_folder,
    remove_short_folder,
    require_room,
    socket_folder,
    starting,
    stop_if_unused,
    try_lock,
    write_private,
)
from analytics_pipeline.embedded.server_process import ServerProcess, ending
from analytics_pipeline.embedded.status import EmbeddedStatus
from analytics_pipeline.errors import AnalyticsError

TCP_PORT = 54329
_SOCKET_NAME = ".s.PGSQL.5432"
_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_ENDED_SILENTLY = (
    "the server ended without saying why (killed, or the machine went down); "
    "everything committed is kept: start it again"
)

_LOG_BYTES = 10_000_000
# Server processes this process has started: kept, so that one that ends is reaped.
_children: list[subprocess.Popen[bytes]] = []


class EmbeddedTimescale:
    """The TimescaleDB server of one home folder."""

    def __init__(
        self,
        home: Path,
        *,
        tcp_port: int = TCP_PORT,
        idle_in_transaction: float = 300,
        transaction_limit: float = 3600,
        login_timeout: float = 10,
        job_interval: float = 15,
        start_timeout: float = 120,
        durable: bool = True,
    ) -> None:
        """Name the server of ``home``; nothing is started.

        ``idle_in_transaction`` (how long one client may keep the others waiting while it does nothing, or does not
        read what it is sent), ``transaction_limit`` (how long a transaction may take at all), ``login_timeout``,
        ``job_interval`` and ``start_timeout`` are seconds. Without ``durable`` nothing is waited for to reach the
        disk: a killed server loses nothing, a machine that goes down everything. All but ``start_timeout``, and
        ``tcp_port``, hold for a server that this object starts, not for one that is running already.
        """
        self.folder = Path(home).expanduser().absolute() / "timescaledb"
        self.data_dir = self.folder / "data"
        self.log_file = self.folder / "server.log"
        self._home = self.folder.parent
        self._lock_file = self.folder / "server.lock"
        self._use_file = self.folder / "users.lock"
        self._state_file = self.folder / "server.json"
        self.password_file = self.folder / "tcp_password"
        self._process = ServerProcess(self.folder / "server.process")
        self._tcp_port = tcp_port
        self._limits = {
            "idleInTransactionSeconds": idle_in_transaction,
            "transactionSeconds": transaction_limit,
            "loginSeconds": login_timeout,
            "startSeconds": start_timeout,
            "jobIntervalSeconds": job_interval,
        }
        self._start_timeout = start_timeout
        self._durable = durable
        self._log_start = 0

    @property
    def url(self) -> str:
        """Connection URL for libpq, over the Unix socket that only its owner can reach."""
        return f"postgresql://postgres@/postgres?host={quote(str(self._socket_dir()), safe='/')}&sslmode=disable"

    @property
    def tcp_url(self) -> str:
        """Connection URL over loopback TCP, with the password; for a server started with ``tcp=True``."""
        port = self._read_state().get("tcp_port")
        if port is None:
            raise AnalyticsError("The embedded TimescaleDB has no TCP port: stop it and start it with TCP.")
        return (
            f"postgresql://postgres:{self.password_file.read_text().strip()}@127.0.0.1:{port}/postgres?sslmode=disable"
        )

    def start(self, *, tcp: bool = False) -> bool:
        """Start the server unless it runs, wait until it answers, and return whether this call started it.

        Safe to call from several processes at once: one server comes of it, which all can use.
        With ``tcp`` it also listens on ``tcp_port`` of the loopback interface.
        """
        private_folder(self._home_folder())
        with starting("The embedded TimescaleDB", self.folder):
            hold_use(self._use_file)
        if self._answers():
            self._require_tcp(tcp=tcp)
            return False
        require_room(self.folder, ROOM if self.data_dir.exists() else ROOM_FOR_NEW)
        package = ensure_engine(self._home)
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            handle = try_lock(self._lock_file)
            if handle is None:
                # Another process is starting it, or it is stopping just now.
                if self._answers():
                    self._require_tcp(tcp=tcp)
                    return False
                time.sleep(0.05)
                continue
            try:
                with starting("The embedded TimescaleDB", self.folder):
                    child, reason = self._spawn(handle, package, tcp=tcp)
            finally:
                os.close(handle)
            with os.fdopen(reason, errors="replace") as said:
                self._wait_for(child, said, deadline)
            return True
        raise AnalyticsError(
            "The embedded TimescaleDB is held by a process that doesn't answer: "
            f"see {self.log_file}, then stop and start it."
        )

    def stop(self, *, timeout: float = 30) -> bool:
        """Stop the server and return whether one ran: what runs is waited for, open transactions are rolled back.

        After ``timeout`` seconds it is killed, which loses nothing that was committed.
        """
        ran = self._is_up()
        deadline = time.monotonic() + timeout
        signalled: set[tuple[int, int]] = set()
        while self._is_up():
            said = self._read_state().get("pid")
            pid = self._process.pid(said)
            number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
            if pid is not None and (pid, number) not in signalled:
                signalled.add((pid, number))
                self._process.signal(number, said)
            if time.monotonic() > deadline + 10:
                process = pid or said or "unknown"
                raise AnalyticsError(
                    f"The embedded TimescaleDB (process {process}) can't be stopped: see {self.log_file}."
                )
            time.sleep(0.02)
        _reap()
        remove_short_folder(self.folder / "run")
        return ran

    def stop_if_unused(self, *, timeout: float) -> bool:
        """Stop the server as ``stop`` does, unless another process uses it; return whether it is stopped."""
        return stop_if_unused(self._use_file, partial(self.stop, timeout=timeout))

    def status(self) -> EmbeddedStatus:
        """Probe the server without waiting for it."""
        _reap()
        up = self._is_up()
        state = self._read_state()
        said = state.get("state", "stopped")
        error = state.get("last_error")
        if not up and said in {"running", "starting"}:
            said, error = "failed", _ENDED_SILENTLY
        elif up and said in {"stopped", "failed"}:
            said, error = "starting", None
        versions = {
            name: state[f"{name}_version"] for name in ("postgres", "timescaledb") if f"{name}_version" in state
        }
        return EmbeddedStatus(
            state=said,
            pid=state.get("pid") if up else None,
            url=self.url,
            data_dir=self.data_dir,
            log_file=self.log_file,
            versions=versions,
            since=_moment(state.get("since")) if up else None,
            clients=state.get("clients") if up else None,
            waiting=state.get("waiting") if up else None,
            busy_since=_moment(state.get("busy_since")) if up else None,
            last_error=error,
        )

    def run_due_jobs(self, *, timeout: float = 120) -> None:
        """Have the server run the policy jobs that are due now, and wait until it has.

        It does so by itself every ``job_interval`` seconds; outcomes are in ``analytics_job_runs``.
        """
        state = self._read_state()
        if not self._is_up() or state.get("state") != "running":
            raise AnalyticsError("The embedded TimescaleDB doesn't run: start it with `analytics-pipeline db start`.")
        before = int(state.get("job_scans") or 0)
        self._process.signal(signal.SIGUSR2, state["pid"])
        deadline = time.monotonic() + timeout
        # A scan that was under way may have looked before the caller's change: the one after it counts.
        while int(self._read_state().get("job_scans") or 0) < before + 1:
            if time.monotonic() > deadline or not self._is_up():
                raise AnalyticsError(f"The due policy jobs were not done within {timeout:.0f} s: see {self.log_file}.")
            time.sleep(0.02)
        if error := self._read_state().get("last_error"):
            raise AnalyticsError(f"The embedded TimescaleDB could not do its policy jobs: {error}.")

    def _home_folder(self) -> Path:
        try:
            self._home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AnalyticsError(
                f"Can't make the folder {self._home}: {error.strerror}. Choose another ANALYTICS_HOME."
            ) from error
        return self.folder

    def _socket_dir(self) -> Path:
        if self._is_up() and (running := self._read_state().get("socket_dir")):
            return Path(running)
        return socket_folder(self.folder / "run")

    def _spawn(self, handle: int, package: Path, *, tcp: bool) -> tuple["subprocess.Popen[bytes]", int]:
        """Start the process; return it and the pipe in which it says why it can't go on, should it have to."""
        if tcp and not self.password_file.exists():
            write_private(self.password_file, secrets.token_urlsafe(24) + "\n")
        reason, write_end = os.pipe()
        config = {
            "dataDir": str(self.data_dir),
            "stateFile": str(self._state_file),
            "socketDir": str(private_folder(socket_folder(self.folder / "run"))),
            "packageDir": str(package),
            "tcpPort": self._tcp_port if tcp else None,
            "passwordFile": str(self.password_file),
            "reasonPipe": write_end,
            "durable": self._durable,
            **self._limits,
        }
        private_folder(self.data_dir)
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES:
            self.log_file.rename(self.log_file.with_suffix(".log.1"))
        self._state_file.unlink(missing_ok=True)
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_start = os.fstat(log).st_size

        def spawn(token: str) -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [node_binary(), SOURCES / "server.mjs", json.dumps({**config, "token": token})],
                cwd=self.folder,
                env=node_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[handle, write_end],
            )

        try:
            child = self._process.start(spawn)
        except OSError:
            os.close(reason)
            raise
        finally:
            os.close(log)
            os.close(write_end)
        _children.append(child)
        return child, reason

    def _wait_for(self, child: "subprocess.Popen[bytes]", reason: TextIO, deadline: float) -> None:
        while not self._answers():
            if child.poll() is not None:
                lines = lines_since(self.log_file, self._log_start)
                errors = [line for line in lines if "Error" in line] or lines[-1:]
                said = reason.read() or (errors[0] if errors else ending(child.returncode))
                raise AnalyticsError(f"The embedded TimescaleDB didn't start: {said} (log: {self.log_file}).")
            if time.monotonic() > deadline:
                # Or it would keep the next start waiting.
                child.kill()
                child.wait()
                raise AnalyticsError(
                    f"The embedded TimescaleDB didn't answer within {self._start_timeout:.0f} s: see {self.log_file}."
                )
            time.sleep(0.01)

    def _require_tcp(self, *, tcp: bool) -> None:
        if not tcp:
            return
        port = self._read_state().get("tcp_port")
        if port != self._tcp_port:
            raise AnalyticsError(
                f"The embedded TimescaleDB is already running {f'on port {port}' if port else 'without TCP'}: "
                "stop it first, then start it with TCP."
            )

    def _is_up(self) -> bool:
        return is_locked(self._lock_file)

    def _answers(self) -> bool:
        if not self._is_up() or self._read_state().get("state") != "running":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            try:
                probe.connect(str(self._socket_dir() / _SOCKET_NAME))
                probe.sendall(_SSL_REQUEST)
                return probe.recv(1) == b"N"
            except OSError:
                return False

    def _read_state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return {}
        return state if isinstance(state, dict) else {}


def _reap() -> None:
    for child in [child for child in _children if child.poll() is not None]:
        _children.remove(child)


def _moment(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
