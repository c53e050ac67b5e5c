"""Writes events straight into a test database, as the ERP's own inserts would."""

import json
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


def add_subscription_change(
    connection: Connection,
    timestamp: str,
    what: str = "changed",
    status: str = "active",
    *,
    company_id: str = "acme",
    subscription_id: str = "s1",
    user_id: str | None = "u1",
    price: str = "50",
) -> None:
    """Insert one change of a monthly subscription, priced in euros."""
    metadata = {
        "subscription_id": subscription_id,
        "interval": "month",
        "interval_count": 1,
        "quantity": 1,
        "status": status,
    }
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, '
        "currency, metadata) VALUES (%s, %s, %s, %s, %s, 'subscription', %s, 'EUR', %s)",
        [
            uuid.uuid4(),
            at(timestamp),
            company_id,
            user_id,
            f"subscription.{what}",
            Decimal(price),
            json.dumps(metadata),
        ],
    )
