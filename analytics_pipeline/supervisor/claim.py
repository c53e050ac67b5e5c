"""One ``up`` for each home: who runs it, where, and with which programs."""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from analytics_pipeline.embedded.files import try_lock
from analytics_pipeline.embedded.server_process import signal_process
from analytics_pipeline.errors import AnalyticsError

_TERM_SECONDS = 5.0
_POLL_SECONDS = 0.1


@dataclass(slots=True)
class Claim:
    """What the file of a running ``up`` says: its process, the UI's address, its folder, the programs it started."""

    pid: int
    address: str
    folder: str
    services: dict[str, int] = field(default_factory=dict)


class ClaimFile:
    """The file; its lock ends with the process, however that ends."""

    def __init__(self, handle: int, claim: Claim) -> None:
        """Take the open file that holds the lock."""
        self._handle = handle
        self._claim = claim
        self._write()

    def note_services(self, services: Mapping[str, int]) -> None:
        """Keep the processes of the programs, for an ``up`` that comes after one that was killed."""
        self._claim.services = dict(services)
        self._write()

    def _write(self) -> None:
        text = json.dumps(asdict(self._claim)).encode()
        os.pwrite(self._handle, text, 0)
        os.ftruncate(self._handle, len(text))


@contextmanager
def claim_home(home: Path, address: str, folder: Path) -> Iterator[ClaimFile]:
    """Be the only ``up`` of a home for the block; ``folder`` is this one's own, and names its programs.

    What one that was killed has left running is ended first. Raises ``AnalyticsError`` with the address of the
    one that runs.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / "up.lock"
    handle = try_lock(path)
    if handle is None:
        running = _read(path)
        where = f" at {running.address} (process {running.pid})" if running is not None else ""
        raise AnalyticsError(f"Dagster runs on {home} already{where}: use that one, or end it first.")
    try:
        if (left := _read(path)) is not None:
            _end_left(left)
        try:
            yield ClaimFile(handle, Claim(os.getpid(), address, str(folder)))
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _read(path: Path) -> Claim | None:
    try:
        return Claim(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _end_left(claim: Claim) -> None:
    """End the programs of a killed ``up``; runs that they execute end by themselves."""
    kill_at = time.monotonic() + _TERM_SECONDS
    while alive := [pid for pid in claim.services.values() if _belongs(pid, claim.folder)]:
        number = signal.SIGTERM if time.monotonic() < kill_at else signal.SIGKILL
        for pid in alive:
            signal_process(pid, number, partial(_belongs, pid, claim.folder))
        time.sleep(_POLL_SECONDS)
    shutil.rmtree(claim.folder, ignore_errors=True)


def _belongs(pid: int, folder: str) -> bool:
    """Return whether the process is the one that was started: a number alone may be anybody's by now."""
    try:
        # In its arguments, or in its environment.
        return any(os.fsencode(folder) in Path(f"/proc/{pid}/{file}").read_bytes() for file in ("cmdline", "environ"))
    except OSError:
        return False
