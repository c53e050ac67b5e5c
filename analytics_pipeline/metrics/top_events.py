"""The most frequent events: a thin typed call of ``analytics_top_events``."""

from dataclasses import dataclass

from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window


@dataclass(frozen=True, slots=True)
class EventCount:
    """How often an event type occurred."""

    event_type: str
    category: str
    events: int


def top_events(connection: Connection, company_id: str | None, window: Window, most: int = 10) -> list[EventCount]:
    """Return the most frequent event types of any window, the most frequent first; ``None`` means all companies."""
    query = "SELECT event_type, category, events FROM analytics_top_events(%s, %s, %s, %s)"
    rows = connection.execute(query, [company_id, window.start, window.end, most]).fetchall()
    return [EventCount(*row) for row in rows]
