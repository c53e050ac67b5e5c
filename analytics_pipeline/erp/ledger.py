"""Which rows of the ERP are events already, and what they said when they were recorded.

Belongs here: ``analytics_source_events``, written together with the hypertable. Does not belong here: rejects, cursors.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from analytics_pipeline.erp.rows import digest
from analytics_pipeline.events.json_text import parse_json
from analytics_pipeline.events.load import EventLoader
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.events.rejection import shown
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection


class Recorded(NamedTuple):
    """What is known of an event that was recorded: its time, and a digest of the rest."""

    timestamp: datetime
    content: UUID

    @classmethod
    def of(cls, event: AnalyticsEvent) -> "Recorded":
        """Return what is kept of an event."""
        return cls(event.timestamp, digest(event))


class Ledger:
    """The events that were recorded from the ERP."""

    def __init__(self, connection: Connection) -> None:
        """Use the connection, which stays the caller's to close."""
        self._connection = connection
        self._loader = EventLoader(connection)

    def look_up(self, event_ids: Iterable[UUID]) -> dict[UUID, Recorded]:
        """Return which of the ids are events already."""
        rows = self._connection.execute(load_sql("queries/source_known_events.sql"), {"event_ids": list(event_ids)})
        return {event_id: Recorded(timestamp, content) for event_id, timestamp, content in rows}

    def record(self, events: Sequence[AnalyticsEvent]) -> int:
        """Store events that are not known yet, as part of the caller's transaction; return how many were new."""
        self._connection.execute(
            load_sql("queries/source_add_events.sql"),
            {
                "event_ids": [event.event_id for event in events],
                "timestamps": [event.timestamp for event in events],
                "contents": [digest(event) for event in events],
            },
        )
        return self._loader.load(events)

    def forget(self, event_id: UUID) -> datetime | None:
        """Take an event back, as part of the caller's transaction; return the time it had, if it was known."""
        row = self._connection.execute(load_sql("queries/source_forget.sql"), {"event_id": event_id}).fetchone()
        if row is None:
            return None
        values = {"event_id": event_id, "timestamp": row[0]}
        self._connection.execute(load_sql("queries/source_delete_event.sql"), values)
        return row[0]  # type: ignore[no-any-return]

    def describe_changes(self, changed: Sequence[tuple[AnalyticsEvent, Recorded]]) -> list[str]:
        """Return for each event how it differs from what was recorded, in words."""
        values = {
            "event_ids": [event.event_id for event, _ in changed],
            "timestamps": [recorded.timestamp for _, recorded in changed],
        }
        rows = self._connection.execute(load_sql("queries/source_recorded_events.sql"), values) if changed else ()
        stored = {row[0]: AnalyticsEvent._make([*row[:-1], parse_json(row[-1])]) for row in rows}
        return [_differences(event, recorded, stored.get(event.event_id)) for event, recorded in changed]


def _differences(event: AnalyticsEvent, recorded: Recorded, stored: AnalyticsEvent | None) -> str:
    found = []
    if event.timestamp != recorded.timestamp:
        found.append(f"at {_instant(recorded.timestamp)}, and the row now says {_instant(event.timestamp)}")
    if stored is not None:
        found += [
            f"with {name} {shown(_plain(before))}, and the row now says {shown(_plain(after))}"
            for name, before, after in zip(AnalyticsEvent._fields, stored, event, strict=True)
            if name != "timestamp" and before != after
        ]
    return "; ".join(found) or "with other content"


def _plain(value: object) -> object:
    return str(value) if value is not None and not isinstance(value, dict) else value


def _instant(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
