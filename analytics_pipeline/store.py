"""Where files are kept: a local folder, or any place that fsspec can list, read and write; nothing else knows fsspec.

Documents are stored whole under names made by ``artifact_name``, with their earlier revisions. The inbox lists, reads
and moves what others drop.

Files and folders of this machine are readable as ``ANALYTICS_FILE_ACCESS`` says, whatever the umask is.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.folders import NO_ROOM, TEMPORARY_REMEDY, folder_error, make_folder, temporary_folder
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import without_credentials

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = "UPath"
"""A folder or a prefix, before anything of it is opened."""

# What a place that can't be used raises, beside what is said of a package that is missing.
STORE_ERRORS = (OSError, ValueError, ImportError)
# Temporary folders of copies are named so: what a killed process has left of them is found by it.
COPIES_PREFIX = "analytics-inbox-"
_SIMPLE = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,62}[a-z0-9_-])?")
_MADE = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,90}[a-z0-9_-])?(~[0-9a-f]{16})?(\.[a-z0-9]{1,8})?")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_LOCAL_PROTOCOLS = ("", "file", "local")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "created")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.ENOSYS, errno.EMLINK)


def place(root: str) -> Place:
    """Return the folder (absolute) or the prefix that a setting or argument names; nothing is opened.

    Raises one of ``STORE_ERRORS`` for a URI nothing here can open.
    """
    from upath import UPath

    path = UPath(root)
    if not is_local(path):
        return path
    try:
        return UPath(Path(path.path).expanduser().absolute())
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def is_local(path: Place) -> bool:
    """Return whether a place is a folder of this machine."""
    return path.protocol in _LOCAL_PROTOCOLS


def reason_of(error: BaseException) -> str:
    """Return why a place can't be used, in one line, without credentials."""
    return without_credentials(str(getattr(error, "strerror", None) or error))


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a store. ``version`` changes with its content; ``modified_at`` is seconds since 1970."""

    name: str
    size: int
    modified_at: float
    version: str

    @property
    def fingerprint(self) -> str:
        """A short stand-in for name and version."""
        return hashlib.sha256(f"{self.name}\n{self.version}".encode()).hexdigest()[:16]


class Store(Protocol):
    """A folder or a prefix, with files by their names relative to it. What can't be done raises ``STORE_ERRORS``."""

    @property
    def location(self) -> str:
        """Path or URI, without credentials."""
        ...

    def uri(self, name: str) -> str:
        """Return the URI of a file, without credentials."""
        ...

    def files(self) -> list[StoredFile]:
        """Return the files that lie directly here, as they are now: no folders, and no symbolic links."""
        ...

    def find(self, name: str) -> StoredFile | None:
        """Return a file that lies directly here as it is now, None if there is none of that name."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None if there is none of that name."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file in place of what was there: readers see the old content or the new one, never a part."""
        ...

    def names_below(self) -> list[str]:
        """Return the names of all files here and in folders below, sorted, what killed writers have left among them."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; one that is gone already is no error."""
        ...

    def local_copy(self, name: str) -> AbstractContextManager[Path]:
        """Give the path of a file, or of a copy of it, for the time of a ``with``."""
        ...

    def move(self, file: StoredFile, folder: str, names: Iterable[str], beside: Mapping[str, Path]) -> str | None:
        """Move a file to a subfolder, with local files beside it whose names are its own plus an ending.

        It gets the first of the names that is free there with all endings: nothing is overwritten. Returns where it
        is now, or None when it is no longer the given version: then it stays. A process that is killed leaves it
        where it was, or in both places.
        """
        ...


def open_store(root: str, *, create: bool = False) -> Store:
    """Return the store at a path or fsspec URI; a local folder is made, once it is listed, if ``create`` says so.

    Raises one of ``STORE_ERRORS`` for a URI nothing here can open.
    """
    path = place(root)
    return FolderStore(Path(path.path), create=create) if is_local(path) else ObjectStore(path)


class FolderStore:
    """A folder of this machine."""

    def __init__(self, root: Path, *, create: bool = False) -> None:
        """Name the folder, by its absolute path."""
        self._root = root
        self._create = create

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self._root)

    def uri(self, name: str) -> str:
        """Return the file's URI."""
        return (self._root / name).as_uri()

    def files(self) -> list[StoredFile]:
        """Return the files; symbolic links are not followed: they could lead to anybody's files."""
        if self._create:
            self._root.mkdir(parents=True, exist_ok=True)
        with os.scandir(self._root) as entries:
            found = [_describe(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        return [file for file in found if file is not None]

    def find(self, name: str) -> StoredFile | None:
        """Return the file as it is now."""
        try:
            return _describe(name, (self._root / name).lstat())
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes | None:
        """Return the file's content."""
        try:
            return (self._root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write the file beside what was there, and rename it."""
        target = self._root / name
        make_folder(target.parent, get_settings().folder_mode, top=self._root)
        _write_whole(target, content)

    def names_below(self) -> list[str]:
        """Return the files below the folder, no symbolic links; none where there is no folder."""
        found = [path for path in self._root.rglob("*") if path.is_file() and not path.is_symlink()]
        return sorted(path.relative_to(self._root).as_posix() for path in found)

    def remove(self, name: str) -> None:
        """Unlink the file."""
        (self._root / name).unlink(missing_ok=True)

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Give the file itself."""
        yield self._root / name

    def move(self, file: StoredFile, folder: str, names: Iterable[str], beside: Mapping[str, Path]) -> str | None:
        """Give the file a name in the subfolder beside the old one, which goes last."""
        source, target_folder = self._root / file.name, self._root / folder
        target_folder.mkdir(exist_ok=True)
        for name in names:
            target = target_folder / name
            if any(target.with_name(f"{name}{ending}").exists() for ending in beside):
                continue
            if _link(source, target):
                break
        # Under its new name the file is the one that was read, or it is taken back.
        if _describe(file.name, target.lstat()) != file:
            _take_back(source, target)
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
            _take_back(source, target)
            raise folder_error(target_folder, error, "Free space there: the file stays where it was.") from error
        if source.exists() and os.path.samestat(source.lstat(), target.lstat()):
            source.unlink()
        return str(target)


class ObjectStore:
    """A prefix of an object store, or of anything else fsspec can list, read, write and copy within."""

    def __init__(self, root: Place) -> None:
        """Name the prefix; nothing is opened."""
        self._fs = root.fs
        self._root = root.path.rstrip("/")
        self._location = without_credentials(str(root)).rstrip("/")

    @property
    def location(self) -> str:
        """The URI without credentials."""
        return self._location

    def uri(self, name: str) -> str:
        """Return the object's URI."""
        return f"{self._location}/{name}"

    def files(self) -> list[StoredFile]:
        """Return the objects, past any cached listing; a prefix without objects does not exist."""
        self._fs.invalidate_cache()
        try:
            infos = self._fs.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return [_describe_object(info) for info in infos if info.get("type") == "file"]

    def find(self, name: str) -> StoredFile | None:
        """Return the object as it is now, from a listing: what stores say of one object differs in form."""
        return next((file for file in self.files() if file.name == name), None)

    def read(self, name: str) -> bytes | None:
        """Return the object's content."""
        try:
            return bytes(self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Upload the object: object stores make one visible only when it is complete."""
        path = self._path(name)
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(path, content)

    def names_below(self) -> list[str]:
        """Return the objects below the prefix, past any cached listing."""
        self._fs.invalidate_cache()
        return sorted(path.removeprefix(self._root).lstrip("/") for path in self._fs.find(self._root))

    def remove(self, name: str) -> None:
        """Delete the object."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    @contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Download the object, under its own name."""
        with temporary_folder(COPIES_PREFIX) as folder:
            path = folder / name
            try:
                self._fs.get_file(self._path(name), str(path))
            except OSError as error:
                # Any other one may be the store's.
                if error.errno in NO_ROOM:
                    raise folder_error(folder.parent, error, TEMPORARY_REMEDY) from error
                raise
            yield path

    def move(self, file: StoredFile, folder: str, names: Iterable[str], beside: Mapping[str, Path]) -> str | None:
        """Copy the object, then delete it: object stores have no move."""
        for name in names:
            target = self._path(f"{folder}/{name}")
            if not any(self._fs.exists(f"{target}{ending}") for ending in ("", *beside)):
                break
        if self.find(file.name) != file:
            return None
        self._fs.makedirs(self._path(folder), exist_ok=True)
        for ending, path in beside.items():
            self._fs.put_file(str(path), f"{target}{ending}")
        self._fs.cp_file(self._path(file.name), target)
        self._fs.rm_file(self._path(file.name))
        return f"{self._location}/{folder}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A stored document: where it is, its size in bytes and its SHA-256.

    ``path`` is the local path, or the URI again where there is none. ``earlier_revision`` is the URI under
    which the document that this one replaced was kept, None if there was none or it had the same bytes.
    """

    uri: str
    path: str
    size: int
    sha256: str
    earlier_revision: str | None


class ArtifactGoneError(AnalyticsError):
    """The store answers, and does not hold the document asked for."""


def artifact_name(*parts: str, suffix: str) -> str:
    """Return a relative name, one folder per part but the last, safe whatever the parts hold.

    Different parts give different names, on file systems that ignore case too: a part that isn't simple
    (up to 64 lower-case letters, digits, ``.``, ``_``, ``-``) becomes its readable remains, ``~`` and a hash. So no
    two companies share a document, and none leaves the store's folder.
    """
    if not parts or not _SUFFIX.fullmatch(suffix):
        raise ValueError("an artifact's name needs a part and a suffix such as .pdf")
    return "/".join(safe_part(part) for part in parts) + suffix


def store_artifact(root: str, name: str, content: bytes) -> StoredArtifact:
    """Store a document whole under ``name`` (from ``artifact_name``) in a local folder or fsspec URI.

    A document of that name with other bytes is kept beside it as ``<stem>~rev-<sha256[:16]><suffix>``; the
    same bytes again change nothing. Readers see the old document or the new one, never a part. Raises
    ``AnalyticsError`` when the store can't be written or the name isn't safe.
    """
    _require_made(name)
    try:
        store = open_store(root)
        revision = None
        earlier = store.read(name)
        if earlier != content:
            if earlier is not None:
                revision = revision_name(name, _digest(earlier))
                store.write(revision, earlier)
            store.write(name, content)
    except STORE_ERRORS as error:
        raise AnalyticsError(
            f"Can't write {name} to {without_credentials(root)}: {without_credentials(str(error))}. "
            "Check ANALYTICS_ARTIFACTS and the permissions there."
        ) from error
    return StoredArtifact(
        uri=store.uri(name),
        path=f"{store.location}/{name}",
        size=len(content),
        sha256=_digest(content),
        earlier_revision=store.uri(revision) if revision else None,
    )


def write_file(target: Path, content: bytes) -> StoredArtifact:
    """Write a document whole into a local file, in place of what was there; raises ``AnalyticsError`` if it can't."""
    path = target.expanduser().absolute()
    try:
        _write_whole(path, content)
    except OSError as error:
        raise AnalyticsError(f"Can't write {target}: {error.strerror}; name a file in a writable folder.") from error
    return StoredArtifact(path.as_uri(), str(path), len(content), _digest(content), None)


def read_artifact(root: str, name: str, sha256: str) -> bytes:
    """Return the document stored under ``name`` in the very revision that has this checksum, replaced or not.

    Raises ``ArtifactGoneError`` when the store holds no such revision, another ``AnalyticsError`` when it
    can't be read now.
    """
    _require_made(name)
    try:
        store = open_store(root)
        for stored in (name, revision_name(name, sha256)):
            content = store.read(stored) or b""
            if _digest(content) == sha256:
                return content
    except STORE_ERRORS as error:
        raise AnalyticsError(
            f"Can't read {name} in {without_credentials(root)}: {without_credentials(str(error))}. "
            "Check ANALYTICS_ARTIFACTS and the permissions there."
        ) from error
    raise ArtifactGoneError(
        f"{without_credentials(root)} no longer holds {name} with the SHA-256 {sha256[:16]}...: it was removed or "
        "changed from outside; close its month again to make it anew."
    )


def _write_whole(target: Path, content: bytes) -> None:
    """Write beside the target and rename, so that the target is always a whole document."""
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            os.fchmod(file.fileno(), get_settings().file_mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def _link(source: Path, target: Path) -> bool:
    """Give the file its new name beside the old one; return whether that name was free."""
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


def _take_back(source: Path, target: Path) -> None:
    if not source.exists():
        shutil.move(target, source)
    elif os.path.samestat(source.lstat(), target.lstat()):
        target.unlink()


def _describe(name: str, found: os.stat_result) -> StoredFile | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return StoredFile(name, found.st_size, found.st_mtime, f"{found.st_size}-{found.st_mtime_ns}")


def _describe_object(info: Mapping[str, Any]) -> StoredFile:
    size = int(info.get("size") or 0)
    moment = next((info[key] for key in _TIMES if info.get(key) is not None), None)
    if isinstance(moment, datetime):
        modified_at = moment.timestamp()
    else:
        modified_at = float(moment) if isinstance(moment, int | float) else 0.0
    tag = info.get("ETag") or info.get("etag") or info.get("md5Hash") or moment
    return StoredFile(str(info["name"]).rsplit("/", 1)[-1], size, modified_at, f"{size}-{tag}")


def _require_made(name: str) -> None:
    if not all(_MADE.fullmatch(segment) for segment in name.split("/")):
        raise AnalyticsError(f"The artifact name {name[:100]!r} is not safe as a path; make it with artifact_name.")


def safe_part(part: str) -> str:
    """Return the part itself if it is simple, else its readable remains with a hash that tells it apart."""
    if _SIMPLE.fullmatch(part):
        return part
    readable = re.sub(r"[^a-z0-9_]+", "-", part.lower())[:40].strip("-")
    return f"{readable or 'x'}~{_digest(part.encode('utf-8', 'surrogatepass'))[:16]}"


def revision_name(name: str, sha256: str) -> str:
    """Return the name of an earlier revision; "rev-" can't be part of a hash, so it meets no other name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.rpartition(".")
    return f"{folder}{slash}{stem}~rev-{sha256[:16]}{dot}{suffix}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
