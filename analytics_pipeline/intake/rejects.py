"""Where rejected records are kept: a file to repair and send again, and a table to look at."""

import filecmp
import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Self

from analytics_pipeline.folders import FolderError, is_left_behind, keep_locked, make_folder
from analytics_pipeline.settings import get_settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

REJECTS_KEPT: Final = 10_000
"""How many rejects of a source are kept whole for each kind of reason, unless the settings say otherwise."""

# Names that commands give their rejects files (``cli``) while they are written.
_is_part_of_ours = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9]+(-fx|-companies)?\.jsonl\.[a-z0-9_]{8}\.part").fullmatch
_PART = ".part"


ERASED_COMPANY: Final = "of an erased company"
"""The kind of reject that a record of an erased company is."""

NEVER_KEPT: Final = frozenset({ERASED_COMPANY})
"""Kinds of rejects that are counted, and of which nothing is kept."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected record: where it stood, why it was rejected, and what it said.

    ``kind`` is the reason without the record's values, ``company_id`` the company it names, None if unreadable.
    ``stored`` is the event that the record contradicts, if that is why.
    """

    source: str
    line: int
    kind: str
    reason: str
    company_id: str | None
    record: str
    stored: str | None = None


@dataclass(slots=True)
class _LeftOut:
    """Rejects beyond the limit, of one source, kind and company: how many, and a digest of what they said."""

    count: int
    digest: "hashlib._Hash"


class RejectLimit:
    """Of each source and kind of reason the first ``most`` rejects are kept whole, the others counted.

    A file of nothing but rubbish else takes many times its size, in a folder and in the database. The others are
    counted by company as far as kept ones name it. Rejects may come from several threads.
    """

    def __init__(self, most: int = REJECTS_KEPT) -> None:
        """Keep so many."""
        self._most = most
        self._kept: Counter[tuple[str, str]] = Counter()
        self._companies: set[tuple[str, str, str]] = set()
        self._left_out: dict[tuple[str, str, str | None], _LeftOut] = {}
        self._lock = Lock()

    def keeps(self, reject: Reject) -> bool:
        """Return whether the reject is to be kept, and count it; one of a kind that is never kept is only counted."""
        source, kind, company = reject.source, reject.kind, reject.company_id
        with self._lock:
            if kind not in NEVER_KEPT and self._kept[source, kind] < self._most:
                self._kept[source, kind] += 1
                if company is not None:
                    self._companies.add((source, kind, company))
                return True
            is_kept = company is not None and (source, kind, company) in self._companies
            key = (source, kind, company if is_kept else None)
            if key not in self._left_out:
                self._left_out[key] = _LeftOut(0, hashlib.sha256(repr(key).encode("utf-8", "backslashreplace")))
            left_out = self._left_out[key]
            left_out.count += 1
            left_out.digest.update(f"\0{reject.line}\0{reject.record}".encode())
            return False

    def left_out(self) -> Counter[tuple[str, str]]:
        """Return how many were counted and not kept, by source and kind."""
        counts: Counter[tuple[str, str]] = Counter()
        for (source, kind, _), left_out in self._left_out.items():
            counts[source, kind] += left_out.count
        return counts

    def store(self, connection: Connection) -> None:
        """Add the counts to ``analytics_ingest_reject_counts``; those of the very same records are left."""
        rows = [
            {
                "source": storable(source),
                "kind": kind,
                "company_id": None if company is None else storable(company),
                "records": left_out.count,
                "records_hash": left_out.digest.hexdigest(),
            }
            for (source, kind, company), left_out in self._left_out.items()
        ]
        if rows:
            connection.execute(load_query("ingest_reject_counts"), [json.dumps(rows, ensure_ascii=False)])


class RejectsFile:
    """A JSON Lines file that exists, complete, only if there were rejects.

    It is readable as ``ANALYTICS_FILE_ACCESS`` says. It is written under a temporary name beside its own and renamed
    at the end, also after an error. A file of that name with other content, from an earlier run, is kept under the
    next free number (``name.1``). Rejects may come from several threads. What can't be written stops nothing: the end
    says so (``FolderError``), and the table has them.
    """

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is created before the first reject."""
        self.path = path
        self._part: Path | None = None
        self._failure: OSError | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        """Begin a run: remove what killed ones have left of such files."""
        with suppress(OSError):
            for path in [path for path in self.path.parent.iterdir() if self._is_part(path.name)]:
                # Another run may have removed it, or given it its name, by now.
                with suppress(FileNotFoundError):
                    if is_left_behind(path):
                        path.unlink()
        return self

    def _is_part(self, name: str) -> bool:
        beginning = f"{self.path.name}."
        is_of_this_name = name.startswith(beginning) and re.fullmatch(r"[a-z0-9_]{8}\.part", name[len(beginning) :])
        return bool(is_of_this_name or _is_part_of_ours(name))

    def add(self, reject: Reject) -> None:
        """Append one reject as a line."""
        kept = {"source": reject.source, "line": reject.line, "reason": reject.reason, "record": reject.record}
        if reject.stored is not None:
            kept["stored"] = reject.stored
        self._write(kept)

    def add_counts(self, limit: RejectLimit) -> None:
        """Append what the limit has left out: a line without a record for each source and kind."""
        for (source, kind), count in limit.left_out().items():
            self._write({"source": source, "line": None, "reason": f"{kind}: {count:,} more, not kept", "record": None})

    def _write(self, kept: dict[str, object]) -> None:
        with self._lock:
            if self._failure is not None:
                return
            try:
                if self._part is None:
                    self._begin()
                self._file.write(json.dumps(kept, ensure_ascii=False) + "\n")
            except OSError as error:
                self._failure = error

    def _begin(self) -> None:
        folder = self.path.parent.absolute()
        make_folder(folder, get_settings().folder_mode, top=folder)
        self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed in __exit__, after the last reject
            "w", encoding="utf-8", dir=self.path.parent, prefix=f"{self.path.name}.", suffix=_PART, delete=False
        )
        keep_locked(self._file.fileno())
        os.fchmod(self._file.fileno(), get_settings().file_mode)
        self._part = Path(self._file.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the finished file its name; raise ``FolderError`` if it couldn't be written, and nothing else is up."""
        if self._part is not None:
            try:
                self._file.close()
                if self._failure is None:
                    self._give_name(self._part)
            except OSError as failure:
                self._failure = self._failure or failure
            if self._failure is not None:
                self._part.unlink(missing_ok=True)
        if self._failure is not None and error is None:
            raise FolderError(
                f"Can't write rejects to {self.path.parent}: {self._failure.strerror or self._failure}. They are in "
                "analytics_ingest_rejects, and everything else is in; free space there, or choose another folder "
                "(--rejects, TMPDIR), and run the same again for the file."
            ) from self._failure

    def _give_name(self, part: Path) -> None:
        if self.path.exists() and not filecmp.cmp(self.path, part, shallow=False):
            self.path.rename(self._free_name())
        part.replace(self.path)

    def _free_name(self) -> Path:
        number = 1
        while (name := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        return name


def store_rejects(connection: Connection, rejects: Sequence[Reject]) -> None:
    """Add the rejects to ``analytics_ingest_rejects`` in one transaction; those it holds already are left."""
    if not rejects:
        return
    rows = [
        {
            "source": storable(reject.source),
            "line_number": reject.line,
            "kind": reject.kind,
            "reason": reject.reason,
            "company_id": None if reject.company_id is None else storable(reject.company_id),
            "record": reject.record,
            "record_hash": hashlib.sha256(reject.record.encode()).hexdigest(),
        }
        for reject in rejects
    ]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(load_query("ingest_rejects"), [json.dumps(rows, ensure_ascii=False)])


def storable(text: str) -> str:
    """Return the text with NUL characters and lone surrogates escaped, which PostgreSQL can't store."""
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
