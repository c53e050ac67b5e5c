"""Events that came in after the archive was given theirs: which of them it lacks, and which it contradicts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from analytics_pipeline.archive.delta_table import TIMESTAMP
from analytics_pipeline.archive.fingerprints import cells
from analytics_pipeline.events.contradictions import ARCHIVE, CONTRADICTED, Origin, Refusal, event_json, keep_conflicts
from analytics_pipeline.events.exact_json import parse_json
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.intake.rejects import Reject, store_rejects
from analytics_pipeline.timescale.connection import Connection

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_KEY = ("event_id", TIMESTAMP)
_ARRIVAL = "ingested_at"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An event as it came late, beside the archived one of its id and instant, as texts."""

    late: Row
    archived: Row


class Late:
    """Events of the database by their key, without those that were found in the archive; all of them in memory."""

    def __init__(self, batches: "Sequence[pa.RecordBatch]", left: dict[tuple[Any, Any], tuple[int, int]]) -> None:
        """Take batches, and where in them each event stands, by its key."""
        self._batches = batches
        self._left = left

    @classmethod
    def of(cls, batches: "Sequence[pa.RecordBatch]") -> "Late":
        """Index the events of batches."""
        left = {}
        for number, batch in enumerate(batches):
            for position, key in enumerate(_keys(batch)):
                left[key] = (number, position)
        return cls(batches, left)

    def remove_known(self, archived: "Iterable[pa.RecordBatch]") -> list[Contradiction]:
        """Leave out what the archive holds, and return where it holds something else."""
        found = []
        for batch in archived:
            for position, key in enumerate(_keys(batch)):
                if key not in self._left:
                    continue
                number, own = self._left.pop(key)
                late, kept = _row(self._batches[number], own), _row(batch, position)
                if any(late[name] != kept[name] for name in late if name != _ARRIVAL):
                    found.append(Contradiction(late, kept))
        return found

    def remaining(self) -> "list[pa.RecordBatch]":
        """Return the events that the archive lacks."""
        positions: dict[int, list[int]] = {}
        for number, position in self._left.values():
            positions.setdefault(number, []).append(position)
        return [self._batches[number].take(sorted(taken)) for number, taken in sorted(positions.items())]


def keep_contradictions(connection: Connection, contradictions: Sequence[Contradiction]) -> None:
    """Keep late events that the archive holds otherwise where other contradictions are kept, for somebody to decide.

    One whose id another company has at that instant is rejected, as ingestion does. Autocommit connection.
    """
    refused, rejects = [], []
    for found in contradictions:
        late, archived = _event(found.late), _event(found.archived)
        if late.company_id == archived.company_id:
            reason = "another event of this id and instant is in the archive"
            refused.append(Refusal(late, archived, RejectedEvent(CONTRADICTED, reason)))
        else:
            reason = f"event_id {late.event_id} can't be used at {late.timestamp.isoformat()}: choose another one."
            rejects.append(Reject(ARCHIVE, 0, "event_id can't be used", reason, late.company_id, event_json(late)))
    with connection.transaction(), connection.cursor() as cursor:
        keep_conflicts(cursor, refused, Origin(ARCHIVE))
    store_rejects(connection, rejects)


def _keys(batch: "pa.RecordBatch") -> "Iterable[tuple[Any, Any]]":
    return zip(*(cells(batch.column(name)) for name in _KEY), strict=True)


def _row(batch: "pa.RecordBatch", position: int) -> Row:
    return {name: batch.column(name)[position].as_py() for name in batch.schema.names}


def _event(row: Row) -> AnalyticsEvent:
    metadata = parse_json(row["metadata"])
    return AnalyticsEvent(
        event_id=UUID(row["event_id"]),
        timestamp=row[TIMESTAMP],
        company_id=row["company_id"],
        user_id=row["user_id"],
        event_type=row["event_type"],
        category=row["category"],
        value=None if row["value"] is None else Decimal(row["value"]),
        currency=row["currency"],
        metadata=metadata if isinstance(metadata, dict) else {},
    )
