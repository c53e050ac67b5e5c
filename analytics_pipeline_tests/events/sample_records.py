"""Raw records the event tests start from."""

import json
import uuid
from collections.abc import Iterable
from typing import Any


def payment(**changes: object) -> dict[str, Any]:
    """Return a good raw payment with some fields changed; ``...`` leaves a field out."""
    raw = {
        "event_id": str(uuid.uuid4()),
        "timestamp": "2025-01-31T23:59:59Z",
        "company_id": "acme",
        "user_id": "u-1",
        "event_type": "payment.received",
        "category": "revenue",
        "value": "29.33",
        "currency": "EUR",
        "metadata": {"method": "card"},
        **changes,
    }
    return {name: value for name, value in raw.items() if value is not ...}


def subscription(value: object = "10", event_type: str = "subscription.started", **changes: object) -> dict[str, Any]:
    """Return a good raw subscription event with some of its metadata changed."""
    metadata = {
        "subscription_id": "s-1",
        "interval": "month",
        "interval_count": 1,
        "quantity": 2,
        "status": "active",
        **changes,
    }
    metadata = {name: item for name, item in metadata.items() if item is not ...}
    return payment(event_type=event_type, category="subscription", value=value, metadata=metadata)


def json_lines(raws: Iterable[dict[str, Any]]) -> str:
    """Return the records as JSON Lines."""
    return "".join(f"{json.dumps(raw)}\n" for raw in raws)
