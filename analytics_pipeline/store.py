"""The store of finished documents: a local folder, or any place fsspec can write to.

Files and folders of this machine are readable as ``ANALYTICS_FILE_ACCESS`` says, whatever the umask is.

A name made from data (a company's id) goes through ``artifact_name``, which keeps simple ids readable and
gives every other one a name of its own: no two companies share a document, none leaves the store's folder.
"""

import hashlib
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.folders import make_folder
from analytics_pipeline.settings import get_settings
from analytics_pipeline.text import without_credentials

if TYPE_CHECKING:
    from upath import UPath

_SIMPLE = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,62}[a-z0-9_-])?")
_MADE = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,90}[a-z0-9_-])?(~[0-9a-f]{16})?(\.[a-z0-9]{1,8})?")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
LOCAL_PROTOCOLS = ("", "file", "local")


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
    (up to 64 lower-case letters, digits, ``.``, ``_``, ``-``) becomes its readable remains, ``~`` and a hash.
    """
    if not parts or not _SUFFIX.fullmatch(suffix):
        raise ValueError("an artifact's name needs a part and a suffix such as .pdf")
    return "/".join(_safe(part) for part in parts) + suffix


def store_artifact(root: str, name: str, content: bytes) -> StoredArtifact:
    """Store a document whole under ``name`` (from ``artifact_name``) in a local folder or fsspec URI.

    A document of that name with other bytes is kept beside it as ``<stem>~rev-<sha256[:16]><suffix>``; the
    same bytes again change nothing. Readers see the old document or the new one, never a part. Raises
    ``AnalyticsError`` when the store can't be written or the name isn't safe.
    """
    _require_made(name)
    from upath import UPath

    try:
        base = UPath(root)
        if base.protocol in LOCAL_PROTOCOLS:
            return _store_local(Path(base.path).absolute(), name, content)
        return _store_remote(base, name, content)
    except (OSError, ValueError, ImportError) as error:
        raise AnalyticsError(
            f"Can't write {name} to {without_credentials(root)}: {without_credentials(str(error))}. "
            "Check ANALYTICS_ARTIFACTS and the permissions there."
        ) from error


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
    from upath import UPath

    try:
        current = UPath(root).joinpath(*name.split("/"))
        for path in (current, current.with_name(_revision_name(current.name, sha256))):
            content = path.read_bytes() if path.exists() else b""
            if _digest(content) == sha256:
                return content
    except (OSError, ValueError, ImportError) as error:
        raise AnalyticsError(
            f"Can't read {name} in {without_credentials(root)}: {without_credentials(str(error))}. "
            "Check ANALYTICS_ARTIFACTS and the permissions there."
        ) from error
    raise ArtifactGoneError(
        f"{without_credentials(root)} no longer holds {name} with the SHA-256 {sha256[:16]}...: it was removed or "
        "changed from outside; close its month again to make it anew."
    )


def _store_local(root: Path, name: str, content: bytes) -> StoredArtifact:
    target = root / name
    make_folder(target.parent, get_settings().folder_mode, top=root)
    revision: Path | None = None
    earlier = target.read_bytes() if target.exists() else None
    if earlier != content:
        if earlier is not None:
            revision = target.with_name(_revision_name(target.name, _digest(earlier)))
            _write_whole(revision, earlier)
        _write_whole(target, content)
    return StoredArtifact(
        uri=target.as_uri(),
        path=str(target),
        size=len(content),
        sha256=_digest(content),
        earlier_revision=revision.as_uri() if revision else None,
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


def _store_remote(base: "UPath", name: str, content: bytes) -> StoredArtifact:
    """Store through fsspec; an object store makes an upload visible only when it is complete."""
    target = base.joinpath(*name.split("/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    revision: UPath | None = None
    earlier = target.read_bytes() if target.exists() else None
    if earlier != content:
        if earlier is not None:
            revision = target.with_name(_revision_name(target.name, _digest(earlier)))
            revision.write_bytes(earlier)
        target.write_bytes(content)
    uri = without_credentials(str(target))
    return StoredArtifact(
        uri=uri,
        path=uri,
        size=len(content),
        sha256=_digest(content),
        earlier_revision=without_credentials(str(revision)) if revision else None,
    )


def _require_made(name: str) -> None:
    if not all(_MADE.fullmatch(segment) for segment in name.split("/")):
        raise AnalyticsError(f"The artifact name {name[:100]!r} is not safe as a path; make it with artifact_name.")


def _safe(part: str) -> str:
    """Return the part itself if it is simple, else its readable remains with a hash that tells it apart."""
    if _SIMPLE.fullmatch(part):
        return part
    readable = re.sub(r"[^a-z0-9_]+", "-", part.lower())[:40].strip("-")
    return f"{readable or 'x'}~{_digest(part.encode('utf-8', 'surrogatepass'))[:16]}"


def _revision_name(name: str, sha256: str) -> str:
    """Return the name of an earlier revision; "rev-" can't be part of a hash, so it meets no other name."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}~rev-{sha256[:16]}{dot}{suffix}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
