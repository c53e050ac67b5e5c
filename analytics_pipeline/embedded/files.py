"""Private folders, locks and short socket folders: what both embedded servers stand on."""

import fcntl
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from analytics_pipeline.errors import AnalyticsError

_SOCKET_PATH_BYTES = 107
_SOCKET_NAME = ".s.PGSQL.00000"

# Free bytes without which a server can't start: a log segment and a checkpoint; for a new one, its files too.
ROOM = 32 * 1024 * 1024
ROOM_FOR_NEW = 128 * 1024 * 1024

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
        f"Neither {preferred} nor {tempfile.gettempdir()} can hold a socket (107 bytes of plain characters): "
        "choose a shorter ANALYTICS_HOME."
    )


def remove_short_folder(preferred: Path) -> None:
    """Remove what ``socket_folder`` returned, unless it is ``preferred`` itself or in use again."""
    folder = socket_folder(preferred)
    if folder != preferred:
        with suppress(OSError):
            folder.rmdir()


def _fits(folder: Path) -> bool:
    # libpq takes a comma for the end of one host and the start of another; PostgreSQL lists folders with
    # commas and quotes, and writes them into a file of lines.
    path = str(folder.absolute())
    return (
        not re.search(r"""[,"'\\\x00-\x1f]""", path) and len(os.fsencode(path)) + len(_SOCKET_NAME) < _SOCKET_PATH_BYTES
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read: whole, or not at all where the disk is full."""
    aside = path.with_name(f"{path.name}.new")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
    aside.replace(path)


def lines_since(log: Path, start: int) -> list[str]:
    """Return the lines of a log file from byte ``start`` on, without the empty ones."""
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines() if log.exists() else []
    return [line.strip() for line in lines if line.strip()]


def require_room(folder: Path, needed: int) -> None:
    """Raise ``AnalyticsError`` unless the disk of ``folder`` has ``needed`` bytes left for this user."""
    found = os.statvfs(folder)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise AnalyticsError(
            f"Disk full: {free / 2**20:.0f} MB are free in {folder}, {needed / 2**20:.0f} MB are needed to start. "
            "Make room, then try again."
        )


@contextmanager
def starting(what: str, folder: Path) -> Iterator[None]:
    """Turn whatever the machine refuses to a server of ``folder`` into an ``AnalyticsError`` that says why."""
    try:
        yield
    except OSError as error:
        require_room(folder, ROOM)
        raise AnalyticsError(f"{what} can't be started: {error}.") from error


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


def stop_if_unused(path: Path, stop: Callable[[], object]) -> bool:
    """Call ``stop`` unless another process uses it, and return whether that was so; who wants to use it then, waits."""
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
