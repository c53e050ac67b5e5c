"""Where turned-away records are kept: a file to repair and send again, and a table to look at.

Belongs here: storing rejects. Does not belong here: deciding what is one.
"""

import filecmp
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.events.records import storable
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class Reject:
    """One turned-away record: where it stood, why it was turned away, and what it said.

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


class RejectsFile:
    """A JSON Lines file that exists, complete, only if there were rejects.

    It is written under a temporary name beside its own and renamed at the end, also after an error. A file of
    that name with other content, from an earlier run, is kept under the next free number (``name.1``). Rejects may
    come from several threads.
    """

    def __init__(self, path: Path) -> None:
        """Remember the path; nothing is created before the first reject."""
        self.path = path
        self._part: Path | None = None
        self._lock = Lock()

    def __enter__(self) -> Self:
        """Begin a run."""
        return self

    def add(self, reject: Reject) -> None:
        """Append one reject as a line."""
        kept = {"source": reject.source, "line": reject.line, "reason": reject.reason, "record": reject.record}
        if reject.stored is not None:
            kept["stored"] = reject.stored
        with self._lock:
            if self._part is None:
                self._begin()
            self._file.write(json.dumps(kept, ensure_ascii=False) + "\n")

    def _begin(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed in __exit__, after the last reject
                "w",
                encoding="utf-8",
                dir=self.path.parent,
                prefix=f"{self.path.name}.",
                suffix=".part",
                delete=False,
            )
        except OSError as error:
            raise AnalyticsError(f"Can't write rejects to {self.path}: {error.strerror}; pass --rejects.") from error
        self._part = Path(self._file.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the finished file its name."""
        if self._part is None:
            return
        self._file.close()
        if self.path.exists() and not filecmp.cmp(self.path, self._part, shallow=False):
            self.path.rename(self._free_name())
        self._part.replace(self.path)

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
        cursor.execute(load_sql("queries/ingest_rejects.sql"), [json.dumps(rows, ensure_ascii=False)])
