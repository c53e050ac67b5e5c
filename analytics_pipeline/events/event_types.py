"""The event types the program gives a meaning to, declared once."""

from dataclasses import dataclass
from enum import Enum

# The category whose amounts are in crypto assets; ``metadata.asset`` says it of a coin that shares a currency's code.
CRYPTO = "crypto"
CATEGORIES = ("billing", "revenue", "user_activity", CRYPTO, "subscription")

# Whatever a product calls its features, using one is user activity.
FEATURE_PREFIX = "feature."


class Amount(Enum):
    """What ``value`` of an event type must be."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    NOT_NEGATIVE = "required, zero or more"
    NOT_POSITIVE = "required, zero or less"
    PRICE = "zero or more; required while the subscription is active or past due"


@dataclass(frozen=True, slots=True)
class EventType:
    """The category a known type belongs to, and the rule for its value."""

    category: str
    amount: Amount


_USER_ACTIVITY = EventType("user_activity", Amount.OPTIONAL)
_CRYPTO = EventType(CRYPTO, Amount.REQUIRED)
_SUBSCRIPTION = EventType("subscription", Amount.PRICE)

KNOWN_TYPES = {
    "invoice.created": EventType("billing", Amount.NOT_NEGATIVE),
    "invoice.credited": EventType("billing", Amount.NOT_POSITIVE),
    "payment.received": EventType("revenue", Amount.NOT_NEGATIVE),
    "payment.refunded": EventType("revenue", Amount.NOT_POSITIVE),
    "user.registered": _USER_ACTIVITY,
    "user.login": _USER_ACTIVITY,
    "user.deleted": _USER_ACTIVITY,
    "crypto.received": _CRYPTO,
    "crypto.sent": _CRYPTO,
    "crypto.swapped": _CRYPTO,
    "subscription.started": _SUBSCRIPTION,
    "subscription.changed": _SUBSCRIPTION,
    "subscription.paused": _SUBSCRIPTION,
    "subscription.resumed": _SUBSCRIPTION,
    "subscription.past_due": _SUBSCRIPTION,
    "subscription.cancel_scheduled": _SUBSCRIPTION,
    "subscription.ended": _SUBSCRIPTION,
}


def known_type(event_type: str) -> EventType | None:
    """Return what is declared about the type; None: it is welcome in any category, with no more rules."""
    known = KNOWN_TYPES.get(event_type)
    if known is None and event_type.startswith(FEATURE_PREFIX):
        return _USER_ACTIVITY
    return known
