"""Where backups lie: a folder of this machine, or a prefix of an object store, with a folder for each backup.

Files of events and of Dagster's storage are read by nobody but their owner: folders made here are private.
"""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.folders import temporary_folder
from analytics_pipeline.operations.manifest import MANIFEST, BackupFile, Manifest, read_manifest, write_manifest
from analytics_pipeline.store import STORE_ERRORS, Place, is_local, place, reason_of
from analytics_pipeline.text import without_credentials

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAME = re.compile(r"(?:backup|events)-\d{8}T\d{6}Z(?:-\d+)?")
_BLOCK = 1 << 20


class DamagedBackupError(AnalyticsError):
    """A file of a backup is missing, or is not what the manifest says; it is named."""


class HashedFile(io.RawIOBase):
    """A file that is written once, from its beginning to its end, and knows its size and SHA-256.

    To close it does not close the file that it stands for: its owner does.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Wrap a file that is open for writing."""
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """It is there to be written."""
        return True

    def write(self, block: "ReadableBuffer") -> int:
        """Write a block."""
        view = memoryview(block)
        self._file.write(view)
        self._digest.update(view)
        self.size += view.nbytes
        return view.nbytes

    def copy_from(self, source: IO[bytes]) -> None:
        """Write all that is left in another file."""
        while block := source.read(_BLOCK):
            self.write(block)

    def entry(self, name: str, rows: int | None = None) -> BackupFile:
        """Return what the manifest says of the file."""
        return BackupFile(name, self.size, self._digest.hexdigest(), rows)


@dataclass(frozen=True, slots=True)
class Backup:
    """The folder of one backup, which may not be complete: that is what its manifest tells."""

    path: Place

    @property
    def name(self) -> str:
        """The folder's name, which says when the backup was begun."""
        return str(self.path.name)

    @property
    def location(self) -> str:
        """Path or URI, without credentials."""
        return without_credentials(str(self.path))

    @property
    def begun_at(self) -> datetime:
        """When it was begun, UTC; raises ``ValueError`` for a folder that isn't named like a backup."""
        moment = self.name.split("-")[1]
        return datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    def is_whole(self) -> bool:
        """Return whether it was written to its end."""
        return bool((self.path / MANIFEST).exists())

    def manifest(self) -> Manifest:
        """Return the manifest; raises ``AnalyticsError`` without one, or where it is damaged."""
        with _saying(self.location, "read"):
            try:
                text = (self.path / MANIFEST).read_bytes()
            except FileNotFoundError:
                raise AnalyticsError(
                    f"{self.location} has no {MANIFEST}: it is no backup, or one that was not finished. "
                    "Name the folder of a backup, such as backup-20250131T023000Z."
                ) from None
        return read_manifest(text, f"{self.location}/{MANIFEST}")

    @contextmanager
    def write(self, name: str) -> Iterator[HashedFile]:
        """Open a new file of the backup; it is on the disk when the block has ended."""
        with _saying(self.location, "write to"), (self.path / name).open("wb") as file:
            if self._is_local:
                os.fchmod(file.fileno(), 0o600)
            yield HashedFile(file)
            file.flush()
            if self._is_local:
                os.fsync(file.fileno())

    @contextmanager
    def read(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file of the backup."""
        with _saying(self.location, "read"), (self.path / name).open("rb") as file:
            yield file

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Give the path of a file of the backup, or of a copy of it, for the block."""
        if self._is_local:
            yield Path(self.path.path) / name
            return
        with temporary_folder("analytics-backup-") as folder:
            with self.read(name) as source, (folder / name).open("wb") as copy:
                shutil.copyfileobj(source, copy, _BLOCK)
            yield folder / name

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, whole or not at all: from then on it is a backup."""
        text = write_manifest(manifest)
        with _saying(self.location, "write to"):
            if not self._is_local:
                (self.path / MANIFEST).write_bytes(text)
                return
            draft = Path(self.path.path) / f".{MANIFEST}"
            with draft.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(draft.with_name(MANIFEST))

    def require_undamaged(self, manifest: Manifest) -> None:
        """Raise ``DamagedBackupError`` naming the first file that is missing or has other content."""
        for entry in manifest.files:
            where = f"{self.location}/{entry.name}"
            if not (self.path / entry.name).exists():
                raise DamagedBackupError(f"{where} is missing: use another backup.")
            digest, size = hashlib.sha256(), 0
            with self.read(entry.name) as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
                    size += len(block)
            if size != entry.bytes:
                raise DamagedBackupError(
                    f"{where} is damaged: it has {size:,} bytes, and was written with {entry.bytes:,}. "
                    "Use another backup."
                )
            if digest.hexdigest() != entry.sha256:
                raise DamagedBackupError(
                    f"{where} is damaged: its checksum is not that of the manifest. Use another backup."
                )

    def remove(self) -> None:
        """Remove the folder, its manifest first: what is left of it is no backup."""
        with _saying(self.location, "remove"):
            (self.path / MANIFEST).unlink(missing_ok=True)
            for file in list(self.path.iterdir()):
                file.unlink()
            # An object store has no folder left by now.
            with suppress(FileNotFoundError, NotADirectoryError):
                self.path.rmdir()

    @property
    def _is_local(self) -> bool:
        return is_local(self.path)


def new_backup(root: str, prefix: str, begun_at: datetime) -> Backup:
    """Make the folder of a new backup, named after when it was begun; raises ``AnalyticsError`` where it can't be."""
    base = f"{prefix}-{begun_at.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    with _saying(root, "write to"):
        folder = place(root)
        if is_local(folder):
            Path(folder.path).mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(1, 100):
            path = folder / (base if number == 1 else f"{base}-{number}")
            if is_local(folder):
                try:
                    Path(path.path).mkdir(mode=0o700)
                except FileExistsError:
                    continue
            elif path.exists():
                continue
            return Backup(path)
    raise AnalyticsError(f"{root} has a hundred backups of this second: wait a second.")


def open_backup(argument: str) -> Backup:
    """Return the backup at a path or URI."""
    with _saying(argument, "read"):
        return Backup(place(argument.rstrip("/")))


def list_backups(root: str) -> list[Backup]:
    """Return the folders in ``root`` that are named like backups, the oldest first; none where there is no root."""
    with _saying(root, "list"):
        try:
            found = [Backup(path) for path in place(root).iterdir() if _NAME.fullmatch(path.name)]
        except FileNotFoundError:
            return []
    return sorted(found, key=lambda backup: (backup.begun_at, backup.name))


@contextmanager
def _saying(where: str, what: str) -> Iterator[None]:
    """Turn what the place refuses into one line."""
    try:
        yield
    except STORE_ERRORS as error:
        raise AnalyticsError(
            f"Can't {what} {without_credentials(where)}: {reason_of(error)}. Check the place of the backups and the "
            "permissions there."
        ) from error
