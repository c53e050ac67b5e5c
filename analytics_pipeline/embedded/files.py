"""Private folders, locks and short socket folders: what both embedded servers stand on."""

import fcntl
import hashlib
import os
import signal
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analytics_pipeline.errors import AnalyticsError

_SOCKET_PATH_BYTES = 107
_SOCKET_NAME = ".s.PGSQL.00000"

# What this process uses, with the open file that says so to others.
_uses: dict[Path, int] = {}


def private_folder(path: Path, *, mode: int = 0o700) -> Path:
    """Make a folder that only its owner can enter; refuse one that belongs to somebody else."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise AnalyticsError(f"{path} is not a folder: move it away, or choose another ANALYTICS_HOME.")
        if found.st_uid != os.geteuid():
            raise AnalyticsError(
                f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}): choose another ANALYTICS_HOME."
            )
        if stat.S_IMODE(found.st_mode) != mode:
            path.chmod(mode)
    except OSError as error:
        raise AnalyticsError(
            f"Can't use the folder {path}: {error.strerror}. Choose another ANALYTICS_HOME."
        ) from error
    return path


def socket_folder(preferred: Path) -> Path:
    """Return ``preferred``, or a short private folder for it where its path can't hold a socket.

    The short one lies in a folder anybody may write to: ``private_folder`` makes sure that
    nobody else has made it before us.
    """
    if _fits(preferred):
        return preferred
    digest = hashlib.sha256(os.fsencode(preferred.absolute())).hexdigest()[:16]
    name = f"analytics-{os.geteuid()}-{digest}"
    for base in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - checked by private_folder
        if _fits(base / name):
            return base / name
    raise AnalyticsError(
        f"Neither {preferred} nor {tempfile.gettempdir()} can hold a socket (107 bytes, no comma): "
        "choose a shorter ANALYTICS_HOME."
    )


def remove_short_folder(preferred: Path) -> None:
    """Remove what ``socket_folder`` returned, unless it is ``preferred`` itself or in use again."""
    folder = socket_folder(preferred)
    if folder != preferred:
        with suppress(OSError):
            folder.rmdir()


def _fits(folder: Path) -> bool:
    # libpq takes a comma for the end of one host and the start of another.
    return (
        "," not in str(folder.absolute()) and len(os.fsencode(folder.absolute() / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES
    )


def signal_server(pid: int, number: signal.Signals, named: Path) -> None:
    """Send a signal to a server, known by ``named`` in its command line; a pid alone may be anybody's by now."""
    command = Path(f"/proc/{pid}/cmdline")
    try:
        if command.exists() and os.fsencode(named) not in command.read_bytes():
            return
        os.kill(pid, number)
    except (ProcessLookupError, FileNotFoundError):
        pass
    except PermissionError as error:
        raise AnalyticsError(f"The embedded server (process {pid}) belongs to another user: ask them.") from error


def try_lock(path: Path) -> int | None:
    """Return an open file that holds the lock ``path``, or ``None`` where another process has it.

    The lock belongs to the open file: it lasts until every process that has inherited it is
    gone, however they end, so there is no stale lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock."""
    if not path.exists():
        return False
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        # Shared, so that two who look at once don't take each other for the holder.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def hold_use(path: Path) -> None:
    """Note, for as long as this process lives, that it uses what ``path`` stands for."""
    if path not in _uses:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Waits for one who is just stopping it, and for nobody else.
        fcntl.flock(handle, fcntl.LOCK_SH)
        _uses[path] = handle


def stop_if_unused(path: Path, stop: Callable[[], None]) -> bool:
    """Call ``stop`` unless another process uses it, and tell whether that was so; who wants to use it then, waits."""
    hold_use(path)
    try:
        fcntl.flock(_uses[path], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        stop()
    finally:
        os.close(_uses.pop(path))
    return True


@contextmanager
def lock(path: Path, *, seconds: float, waiting_for: str) -> Iterator[None]:
    """Hold the lock, waiting for it at most ``seconds``; ``waiting_for`` names it in the error."""
    deadline = time.monotonic() + seconds
    while (handle := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise AnalyticsError(f"Waited {seconds:.0f} s for {waiting_for}: is another process stuck? Try again.")
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(handle)
