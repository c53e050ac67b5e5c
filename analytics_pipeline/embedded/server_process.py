"""Which process a server is: known by its id, the time it started and a token in its command line.

An id alone may be anybody's by now, and a path in a command line can be written in many ways.
"""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from analytics_pipeline.embedded.files import write_private
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.processes import process_stat


class ServerProcess:
    """The process of one server, as the file ``path`` remembers it between commands."""

    def __init__(self, path: Path) -> None:
        """Name the file; it needs not exist."""
        self._path = path

    def start(self, spawn: Callable[[str], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes]":
        """Start the process with a new token, which ``spawn`` puts into its command line, and remember it.

        The token is on disk before the process is there, so that one whose starter is killed meanwhile is known too.
        """
        token = secrets.token_hex(16)
        write_private(self._path, json.dumps({"token": token}))
        child = spawn(token)
        try:
            known = {"token": token, "pid": child.pid, "started": _started(child.pid)}
            write_private(self._path, json.dumps(known))
        except OSError:
            child.kill()
            child.wait()
            raise
        return child

    def pid(self, said: int | None) -> int | None:
        """Return the id of the process if it runs; ``said`` is what its own files say, for want of better."""
        known = self._read()
        pid = known.get("pid", said)
        if not isinstance(pid, int) or not _matches(pid, known):
            return None
        return pid

    def signal(self, number: signal.Signals, said: int | None) -> None:
        """Send a signal to the process and to no other; nothing happens when it is gone."""
        pid = self.pid(said)
        if pid is not None:
            signal_process(pid, number, lambda: self.pid(said) == pid)

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}


def signal_process(pid: int, number: signal.Signals, is_meant: Callable[[], bool]) -> None:
    """Send a signal to a process if ``is_meant`` finds that its id is still that of the one that is meant.

    Nothing happens when it is gone. Raises ``AnalyticsError`` where it belongs to another user.
    """
    try:
        if not hasattr(os, "pidfd_open"):
            if is_meant():
                os.kill(pid, number)
            return
        handle = os.pidfd_open(pid)
        try:
            # Looked at now: from here on the handle is one process's, whatever becomes of its id.
            if is_meant():
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        raise AnalyticsError(f"Process {pid} belongs to another user: ask them.") from error


def ending(status: int) -> str:
    """Return how a process ended, for one that said nothing: ``status`` as ``Popen.returncode`` gives it."""
    if status < 0:
        return f"it was killed by {signal.Signals(-status).name} before it said anything"
    return f"it ended with status {status} without saying why"


def _matches(pid: int, known: dict[str, Any]) -> bool:
    process = Path(f"/proc/{pid}")
    if not Path("/proc/self").exists():
        # Where nothing tells more of a process than its id.
        return "pid" in known
    token = known.get("token")
    with suppress(OSError):
        if isinstance(token, str) and token.encode() in (process / "cmdline").read_bytes():
            return "started" not in known or known["started"] == _started(pid)
    return False


def _started(pid: int) -> int | None:
    """Return when the process started, None where that can't be known."""
    with suppress(OSError, ValueError, IndexError):
        return process_stat(pid)[1]
    return None
