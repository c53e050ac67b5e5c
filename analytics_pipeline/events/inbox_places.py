"""Where an inbox lies: a folder of this machine, or a prefix of an object store.

Only files directly in the inbox count: ``done/`` and ``failed/`` are its own, other folders somebody else's.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.sources import format_of, split_name
from analytics_pipeline.folders import NO_ROOM, TEMPORARY_REMEDY, folder_error, temporary_folder
from analytics_pipeline.settings import get_settings
from analytics_pipeline.store import LOCAL_PROTOCOLS
from analytics_pipeline.text import without_credentials

if TYPE_CHECKING:
    from upath import UPath

INBOX_PREFIX = "analytics-inbox-"
_UNFINISHED = re.compile(r"^\.|\.(partial|part|tmp)$|\.rejects", re.IGNORECASE)
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file in the inbox. ``version`` changes with its content; ``modified_at`` is seconds since 1970."""

    name: str
    size: int
    modified_at: float
    version: str

    @property
    def fingerprint(self) -> str:
        """A short stand-in for name and version."""
        return hashlib.sha256(f"{self.name}\n{self.version}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Listing:
    """What an inbox holds: files to take, oldest first, and names that are left alone because of their ending."""

    files: list[DroppedFile]
    foreign: list[str]


class Inbox(Protocol):
    """A place where files are dropped."""

    @property
    def location(self) -> str:
        """Path or URI, without credentials."""
        ...

    def scan(self) -> Listing:
        """Look at the inbox. Raises ``AnalyticsError`` when it can't be listed."""
        ...

    def find(self, name: str) -> DroppedFile | None:
        """Return a file of the inbox as it is now, None if there is none of that name."""
        ...

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        """Give the path of the file, or of a copy of it, for the time of a ``with``."""
        ...

    def file_away(self, file: DroppedFile, folder: str, beside: Mapping[str, Path]) -> str | None:
        """Move the file to a subfolder, with files beside it whose names are its own plus an ending.

        Nothing there is overwritten: a taken name gets a number (``name~2.jsonl``). Returns where the file is
        now, or None when it is no longer the given version: then it stays.
        """
        ...


class FolderInbox:
    """A folder."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        """Name the folder; ``create`` says that it is made when it is missing."""
        self._root = root
        self._create = create

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self._root)

    def scan(self) -> Listing:
        """Look at the folder; symbolic links are not followed: they could lead to anybody's files."""
        try:
            if self._create:
                self._root.mkdir(parents=True, exist_ok=True)
            with os.scandir(self._root) as entries:
                found = [_describe(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            raise AnalyticsError(
                f"Can't list the inbox {self._root}: {error.strerror}. Create it, or mend ANALYTICS_INBOX."
            ) from error
        return _sort(file for file in found if file is not None)

    def find(self, name: str) -> DroppedFile | None:
        """Return the file as it is now."""
        path = self._path(name)
        try:
            return _describe(name, path.lstat())
        except FileNotFoundError:
            return None

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Give the file itself."""
        yield self._path(name)

    def file_away(self, file: DroppedFile, folder: str, beside: Mapping[str, Path]) -> str | None:
        """Move the file; a process killed in between leaves it in the inbox, or in both places."""
        source = self._path(file.name)
        target_folder = self._root / folder
        target_folder.mkdir(exist_ok=True)
        for name in free_names(file.name):
            target = target_folder / name
            if any(target.with_name(f"{name}{ending}").exists() for ending in beside):
                continue
            if self._place(source, target):
                break
        # Under its new name the file is the one that was read, or it is taken back.
        if _describe(file.name, target.lstat()) != file:
            self._take_back(source, target)
            return None
        copies = {target.with_name(f"{target.name}{ending}"): path for ending, path in beside.items()}
        try:
            for copy, path in copies.items():
                # Content comes after the mode: a folder of others is open to them.
                copy.touch(mode=0o600)
                copy.chmod(get_settings().file_mode)
                shutil.copyfile(path, copy)
        except OSError as error:
            for copy in copies:
                copy.unlink(missing_ok=True)
            self._take_back(source, target)
            raise folder_error(target_folder, error, "Free space there: the file stays in the inbox.") from error
        if source.exists() and os.path.samestat(source.lstat(), target.lstat()):
            source.unlink()
        return str(target)

    def _path(self, name: str) -> Path:
        return self._root / require_plain_name(name)

    @staticmethod
    def _place(source: Path, target: Path) -> bool:
        """Give the file its new name beside the old one; tell whether that name was free."""
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # No hard links here: a rename, which could overwrite a name taken this very instant.
            if target.exists():
                return False
            shutil.move(source, target)
        return True

    @staticmethod
    def _take_back(source: Path, target: Path) -> None:
        if not source.exists():
            shutil.move(target, source)
        elif os.path.samestat(source.lstat(), target.lstat()):
            target.unlink()


class ObjectStoreInbox:
    """A prefix of an object store, or of anything else fsspec can list, read and move within."""

    def __init__(self, root: "UPath") -> None:
        """Name the prefix; nothing is opened."""
        self._fs = root.fs
        self._root = root.path.rstrip("/")
        self._location = without_credentials(str(root)).rstrip("/")

    @property
    def location(self) -> str:
        """The URI without credentials."""
        return self._location

    def scan(self) -> Listing:
        """Look at the prefix, past any cached listing."""
        return _sort(iter(self._objects()))

    def find(self, name: str) -> DroppedFile | None:
        """Return the object as it is now, from a listing: what stores say of one object differs in form."""
        require_plain_name(name)
        return next((file for file in self._objects() if file.name == name), None)

    def _objects(self) -> list[DroppedFile]:
        try:
            self._fs.invalidate_cache()
            infos = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            # A prefix without objects does not exist.
            return []
        except (OSError, ValueError) as error:
            raise AnalyticsError(
                f"Can't list the inbox {self._location}: {without_credentials(str(error))}. Check ANALYTICS_INBOX."
            ) from error
        return [_describe_object(info) for info in infos if info.get("type") == "file"]

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Download the object, under its own name."""
        with temporary_folder(INBOX_PREFIX) as folder:
            path = folder / require_plain_name(name)
            try:
                self._fs.get_file(self._path(name), str(path))
            except OSError as error:
                # Any other one may be the store's.
                if error.errno in NO_ROOM:
                    raise folder_error(folder.parent, error, TEMPORARY_REMEDY) from error
                raise
            yield path

    def file_away(self, file: DroppedFile, folder: str, beside: Mapping[str, Path]) -> str | None:
        """Copy the object, then delete it: object stores have no move."""
        for name in free_names(file.name):
            target = f"{self._root}/{folder}/{name}"
            if not any(self._fs.exists(f"{target}{ending}") for ending in ("", *beside)):
                break
        if self.find(file.name) != file:
            return None
        self._fs.makedirs(f"{self._root}/{folder}", exist_ok=True)
        for ending, path in beside.items():
            self._fs.put_file(str(path), f"{target}{ending}")
        self._fs.cp_file(self._path(file.name), target)
        self._fs.rm_file(self._path(file.name))
        return f"{self._location}/{folder}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{require_plain_name(name)}"


def open_inbox(root: str, *, create: bool = False) -> Inbox:
    """Return the inbox at a path or fsspec URI; a local folder is made if ``create`` says so.

    Raises ``AnalyticsError`` for a URI nothing here can open.
    """
    from upath import UPath

    try:
        place = UPath(root)
        if place.protocol in LOCAL_PROTOCOLS:
            return FolderInbox(Path(place.path).expanduser().absolute(), create=create)
        return ObjectStoreInbox(place)
    except (OSError, ValueError, ImportError) as error:
        raise AnalyticsError(
            f"Can't open the inbox {without_credentials(root)}: {without_credentials(str(error))}. "
            "Check ANALYTICS_INBOX."
        ) from error


def free_names(name: str) -> Iterator[str]:
    """Yield the name, then the name with a number before its endings."""
    yield name
    stem, ending = split_name(name)
    for number in count(2):
        yield f"{stem}~{number}{ending}"


def require_plain_name(name: str) -> str:
    """Return the name; raise ``AnalyticsError`` for one that would lead out of the inbox."""
    if not name or name in {".", ".."} or "/" in name or "\0" in name or name != Path(name).name:
        raise AnalyticsError(f"{name!r} is not the name of a file in the inbox: give the name alone, without a path.")
    return name


def _sort(files: Iterator[DroppedFile]) -> Listing:
    dropped = [file for file in files if not _UNFINISHED.search(file.name)]
    known = [file for file in dropped if _is_known(file.name)]
    known.sort(key=lambda file: (file.modified_at, file.name))
    return Listing(known, sorted(_printable(file.name) for file in dropped if not _is_known(file.name)))


def _is_known(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return format_of(name) is not None


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _describe(name: str, found: os.stat_result) -> DroppedFile | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return DroppedFile(name, found.st_size, found.st_mtime, f"{found.st_size}-{found.st_mtime_ns}")


def _describe_object(info: Mapping[str, Any]) -> DroppedFile:
    size = int(info.get("size") or 0)
    moment = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    if isinstance(moment, datetime):
        modified_at = moment.timestamp()
    else:
        modified_at = float(moment) if isinstance(moment, int | float) else 0.0
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or moment
    return DroppedFile(str(info["name"]).rsplit("/", 1)[-1], size, modified_at, f"{size}-{tag}")
