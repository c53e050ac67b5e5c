"""Writes events straight into a test database, as the ERP's own inserts would."""

import uuid
from datetime import UTC, datetime
from decimal import Decimal

from analytics_pipeline.timescale.connection import Connection


def at(text: str) -> datetime:
    """Return an ISO instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def add_event(
    connection: Connection,
    timestamp: str,
    event_type: str = "payment.received",
    *,
    category: str = "revenue",
    company_id: str = "acme",
    user_id: str | None = "u1",
    value: str | None = "10.00",
    currency: str | None = "EUR",
) -> None:
    """Insert one event."""
    connection.execute(
        "INSERT INTO analytics_events "
        '(event_id, "timestamp", company_id, user_id, event_type, category, value, currency) '
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        [
            uuid.uuid4(),
            at(timestamp),
            company_id,
            user_id,
            event_type,
            category,
            Decimal(value) if value is not None else None,
            currency,
        ],
    )
