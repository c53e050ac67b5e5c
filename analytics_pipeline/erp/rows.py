"""From a row of the ERP to an event: its id, its fields, and a digest to notice that it changed."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from analytics_pipeline.erp.source_columns import EVENT_FIELDS, KEY
from analytics_pipeline.events.columns import with_metadata
from analytics_pipeline.events.exact_json import to_json
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS, NAMESPACE
from analytics_pipeline.events.model import AnalyticsEvent, Parsing, parse_event
from analytics_pipeline.intake.rejection import RejectedEvent, shown

_DIGEST_BYTES = 16


def event_id_of(source: str, key: str) -> UUID:
    """Return the id of the event that a key of a source stands for: the same for ever."""
    return uuid5(NAMESPACE, f"{source}/{key}")


def parse_row(
    source: str, row: Mapping[str, Any], *, now: datetime | None = None, parsing: Parsing | None = None
) -> AnalyticsEvent:
    """Return the event a row stands for. Raises ``RejectedEvent`` naming field, value and remedy."""
    key = require_key(row)
    fields = with_metadata({name: row[name] for name in row.keys() & EVENT_FIELDS})
    return parse_event({**fields, "event_id": event_id_of(source, key)}, now=now, parsing=parsing)


def require_key(row: Mapping[str, Any]) -> str:
    """Return the key of a row. Raises ``RejectedEvent`` for one that can't be kept."""
    key: str = row[KEY]
    if not key.strip():
        raise RejectedEvent("source_key is blank", "source_key is null or blank: make it of the row's primary key.")
    if len(key) > MAX_ID_CHARACTERS:
        raise RejectedEvent(
            "source_key is too long",
            f"source_key {shown(key)} has more than {MAX_ID_CHARACTERS} characters: shorten it.",
        )
    return key


def digest(event: AnalyticsEvent) -> UUID:
    """Return a digest of everything but id and timestamp; 10.0 and 10.00 are the same amount."""
    # Not normalize(): it rounds to 28 digits.
    value = None if event.value is None else f"{event.value:f}"
    if value is not None and "." in value:
        value = value.rstrip("0").rstrip(".")
    content = [event.company_id, event.user_id, event.event_type, event.category, value, event.currency, event.metadata]
    return UUID(bytes=hashlib.blake2b(to_json(content).encode(), digest_size=_DIGEST_BYTES).digest())


def as_text(row: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the row with every field as text, from which ``parse_row`` makes the same event."""
    return {name: None if value is None else _text(value) for name, value in row.items()}


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
