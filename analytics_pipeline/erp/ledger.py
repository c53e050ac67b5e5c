"""Which rows of the ERP are events already, and what they said when they were recorded."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from analytics_pipeline.erp.rows import digest
from analytics_pipeline.events.bulk_load import EventLoader, Loaded
from analytics_pipeline.events.contradictions import OnConflict, describe_differences, instant_text, normalized
from analytics_pipeline.events.exact_json import parse_json
from analytics_pipeline.events.model import AnalyticsEvent
from analytics_pipeline.sql_files import load_query
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

    def __init__(self, connection: Connection, on_conflict: OnConflict = OnConflict.REJECT) -> None:
        """Use the connection, which stays the caller's to close."""
        self._connection = connection
        self._loader = EventLoader(connection, on_conflict)

    def look_up(self, event_ids: Iterable[UUID]) -> dict[UUID, Recorded]:
        """Return which of the ids are events already."""
        rows = self._connection.execute(load_query("source_known_events"), {"event_ids": list(event_ids)})
        return {event_id: Recorded(timestamp, content) for event_id, timestamp, content in rows}

    def record(self, events: Sequence[AnalyticsEvent]) -> Loaded:
        """Store events that are not known yet, as part of the caller's transaction; return what became of them.

        Of an event that was stored in another way before, and says something else, the ledger learns what is stored.
        """
        loaded = self._loader.load(events)
        refused = {refusal.event.event_id: refusal.stored for refusal in loaded.refused}
        known = [refused.get(event.event_id, event) for event in events]
        stored = [event for event in known if event is not None]
        self._connection.execute(
            load_query("source_add_events"),
            {
                "event_ids": [event.event_id for event in stored],
                "timestamps": [event.timestamp for event in stored],
                "contents": [digest(event) for event in stored],
            },
        )
        return loaded

    def correct(self, events: Sequence[AnalyticsEvent]) -> None:
        """Know events by what they are now, as part of the caller's transaction; those that are not known stay so."""
        if events:
            values = {
                "event_ids": [event.event_id for event in events],
                "contents": [digest(event) for event in events],
            }
            self._connection.execute(load_query("source_correct_events"), values)

    def forget(self, event_id: UUID) -> datetime | None:
        """Take an event back, as part of the caller's transaction; return the time it had, if it was known."""
        row = self._connection.execute(load_query("source_forget"), {"event_id": event_id}).fetchone()
        if row is None:
            return None
        values = {"event_id": event_id, "timestamp": row[0]}
        for (company_id,) in self._connection.execute(load_query("source_event_company"), values).fetchall():
            values["company_id"] = company_id
            # Of whom, and when, is noted by the statement itself (analytics_note_deleted_rows).
            self._connection.execute("SELECT set_config('analytics.deletion_is_noted', 'on', true)")
            self._connection.execute(load_query("source_delete_event"), values)
        return row[0]  # type: ignore[no-any-return]

    def describe_changes(self, changed: Sequence[tuple[AnalyticsEvent, Recorded]]) -> list[str | None]:
        """Return for each event how it differs from what was recorded, in words.

        None where it is what is stored: its company or user was renamed, or is stored in another normal form.
        """
        values = {
            "event_ids": [event.event_id for event, _ in changed],
            "timestamps": [recorded.timestamp for _, recorded in changed],
        }
        rows = self._connection.execute(load_query("source_recorded_events"), values) if changed else ()
        stored = {row[0]: AnalyticsEvent._make([*row[:-1], parse_json(row[-1])]) for row in rows}
        return [_differences(event, recorded, stored.get(event.event_id)) for event, recorded in changed]


def _differences(event: AnalyticsEvent, recorded: Recorded, stored: AnalyticsEvent | None) -> str | None:
    if stored is not None and Recorded.of(normalized(stored)) == Recorded.of(event):
        return None
    found = []
    if event.timestamp != recorded.timestamp:
        before = instant_text(recorded.timestamp.astimezone(UTC))
        found.append(f"at {before}, and the row now says {instant_text(event.timestamp)}")
    if stored is not None:
        found.append(describe_differences(stored, event, "the row now"))
    return "; ".join(filter(None, found)) or "with other content"
