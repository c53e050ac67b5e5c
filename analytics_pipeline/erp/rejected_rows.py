"""Rows of the ERP that are not events: kept with their reason until they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from analytics_pipeline.erp.reader import Row
from analytics_pipeline.erp.rows import as_text
from analytics_pipeline.erp.source_columns import KEY
from analytics_pipeline.events.erased import ErasedIds
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection


@dataclass(frozen=True, slots=True)
class NewReject:
    """A row that was just rejected; ``kind`` is the reason without its values.

    At ``retry_at``, if there is one, it may pass by itself.
    """

    row: Row
    kind: str
    reason: str
    retry_at: datetime | None = None

    @property
    def key(self) -> str:
        """The row's key, as far as it is kept."""
        return str(self.row[KEY])[:MAX_ID_CHARACTERS]

    def concealed(self, erased: ErasedIds) -> "NewReject":
        """Return it as it may be kept: of an erased user without what is said of them.

        Under another key it isn't tried again by itself: the row of the ERP is another event.
        """
        row = erased.row(self.row)
        if row == self.row:
            return self
        company_id = str(self.row["company_id"])
        retry_at = self.retry_at if row[KEY] == self.row[KEY] else None
        return replace(self, row=row, reason=erased.text(company_id, self.reason), retry_at=retry_at)


@dataclass(frozen=True, slots=True)
class SourceReject:
    """A rejected row as it is kept: every field of ``row`` is text."""

    source: str
    source_key: str
    reason: str
    row: Mapping[str, Any]
    first_seen: datetime
    last_seen: datetime
    retry_at: datetime | None


def store_rejects(connection: Connection, source: str, rejects: Sequence[NewReject], most: int) -> int:
    """Keep the rejects, as part of the caller's transaction; of a key that is there already the newest row stays.

    Of each kind of reason ``most`` rows of the source are kept, and those that are tried again by themselves. Returns
    how many were not kept.
    """
    # One statement can't change a row twice: the last one of a key counts.
    rows = {
        reject.key: {
            "source_key": reject.key,
            "kind": reject.kind,
            "reason": reject.reason,
            "row": as_text(reject.row),
            "retry_at": None if reject.retry_at is None else reject.retry_at.isoformat(),
        }
        for reject in rejects
    }
    if not rows:
        return 0
    values = {"source": source, "rejects": json.dumps(list(rows.values()), ensure_ascii=False), "most": most}
    return len(rows) - connection.execute(load_query("source_add_rejects"), values).rowcount


def resolve_rejects(connection: Connection, source: str, keys: Sequence[str]) -> None:
    """Note that rows were accepted, as part of the caller's transaction."""
    if keys:
        connection.execute(load_query("source_resolve_rejects"), {"source": source, "keys": list(keys)})


def open_rejects(connection: Connection, source: str | None, most: int) -> list[SourceReject]:
    """Return rows that are still rejected, of one source or of all, newest first."""
    with connection.cursor(row_factory=class_row(SourceReject)) as cursor:
        return cursor.execute(load_query("source_rejects"), {"source": source, "most": most}).fetchall()


def due_rows(connection: Connection, source: str, most: int) -> list[Row]:
    """Return rejected rows that may pass now, as they are kept."""
    found = connection.execute(load_query("source_due_rejects"), {"source": source, "most": most})
    return [row for (row,) in found]
