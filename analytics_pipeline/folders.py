"""Folders that are written to on the way: what is said when they can't be, and what a killed run has left there."""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from analytics_pipeline.errors import AnalyticsError

TEMPORARY_REMEDY: Final = "Free space there, or set TMPDIR to another folder."
# No disk space, no quota, too large a file, read-only.
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NEW_SECONDS = 1.0


class FolderError(AnalyticsError):
    """A folder of this machine can't be written to: nothing is wrong with what is being read."""


def folder_error(folder: Path | str, error: OSError, remedy: str) -> FolderError:
    """Return what to raise where writing to a folder failed."""
    return FolderError(f"Can't write to {folder}: {error.strerror or error}. {remedy}")


def make_folder(folder: Path, mode: int, *, top: Path) -> None:
    """Make a folder, and those above it up to ``top`` that are missing, with a mode that no umask changes.

    A folder that is there stays as it is. Raises ``OSError``.
    """
    if not top.parent.exists():
        top.parent.mkdir(parents=True, exist_ok=True)
    for part in reversed([folder, *folder.parents]):
        if part.is_relative_to(top) and not part.exists():
            try:
                part.mkdir(mode)
            except FileExistsError:
                # Another run was faster.
                continue
            part.chmod(mode)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Give a new folder below the temporary one, and remove it, and those that killed runs have left, of its prefix.

    Raises ``FolderError`` naming the temporary folder where that is full or missing.
    """
    with writing_to_temporary():
        parent = Path(tempfile.gettempdir())
        _remove_left_behind(parent, prefix)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def writing_to_temporary() -> Iterator[None]:
    """Turn an ``OSError`` of the block, which writes below the temporary folder, into a ``FolderError`` naming it."""
    try:
        yield
    except OSError as error:
        raise folder_error(_temporary_name(), error, TEMPORARY_REMEDY) from error


def is_left_behind(path: Path) -> bool:
    """Return whether a file or folder of ours that its maker keeps locked has lost its maker, which was killed.

    One that is being made has no lock for a moment: what is new is not left behind. Raises ``OSError`` if it is gone.
    """
    if 0 <= time.time() - path.lstat().st_mtime < _NEW_SECONDS:
        return False
    lock = _lock(path)
    if lock is None:
        return False
    os.close(lock)
    return True


def keep_locked(descriptor: int) -> None:
    """Lock an open file as long as it is open, so that no other run takes it for left behind."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock(path: Path) -> int | None:
    """Return the descriptor that holds the lock, None where another run holds it, or the path is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_left_behind(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*"):
        # Another run may have removed it by now.
        with suppress(FileNotFoundError):
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and is_left_behind(path):
                shutil.rmtree(path, ignore_errors=True)


def _temporary_name() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:
        return "the temporary folder"
