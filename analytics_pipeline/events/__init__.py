"""Events: what one is, how it is recorded, and how files of them are ingested.

Belongs here: everything between a raw record and a row of ``analytics_events``. Does not belong here: what
events add up to (``metrics``, ``sql/functions``). Files are ingested by ``analytics_pipeline.events.ingest``.
"""

from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.model import AnalyticsEvent, check_event, parse_event
from analytics_pipeline.events.record import new_event, record_event, record_events
from analytics_pipeline.intake.rejection import RejectedEvent

__all__ = [
    "AnalyticsEvent",
    "OnConflict",
    "RejectedEvent",
    "check_event",
    "new_event",
    "parse_event",
    "record_event",
    "record_events",
]
