"""The event, and everything that must hold for one before it is stored.

Belongs here: the typed event, parsing a raw record into one, the rules of ARCHITECTURE section 3 and
DEFINITIONS. Does not belong here: reading files (``sources``) or storing events (``load``).
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

from analytics_pipeline.currencies import ASSET_FORM_TOLD, crypto_code, is_asset, is_currency
from analytics_pipeline.events.catalogue import CATEGORIES, CRYPTO, Amount, known_type
from analytics_pipeline.events.exact_numbers import check_amount, check_metadata_number, to_decimal
from analytics_pipeline.events.rejection import RejectedEvent, shown

MAX_ID_CHARACTERS: Final = 200
MAX_TYPE_CHARACTERS: Final = 100
MAX_METADATA_CHARACTERS: Final = 65_536
MAX_METADATA_DEPTH: Final = 32
MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
FIRST_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)

INTERVALS: Final = ("day", "week", "month", "year")
STATUSES: Final = ("active", "trialing", "past_due", "paused", "ended")
# What a type says about the status by itself; the other types go with any.
STATUSES_OF_TYPES: Final = {
    "subscription.paused": ("paused",),
    "subscription.resumed": ("active", "trialing", "past_due"),
    "subscription.past_due": ("past_due",),
    "subscription.ended": ("ended",),
}
MAX_INTERVAL_COUNT: Final = 1_200
MAX_QUANTITY: Final = 1_000_000_000

_SCALAR_CHARACTERS = 8

_is_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_is_instant = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?"
    r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})"
).fullmatch
_is_finer_than_microseconds = re.compile(r".*[0-9]\.[0-9]{7,}(?:[Zz]|[+-][0-9:]+)?").fullmatch
_is_instant_without_zone = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
).fullmatch


class AnalyticsEvent(NamedTuple):
    """One business event. Two events are the same if ``event_id`` and ``timestamp`` are.

    Immutable; a tuple because an ingestion makes a million of them. ``timestamp`` is in UTC, ``value`` keeps
    every digit, ``metadata`` is a JSON object whose numbers may be ``Decimal``. Building one checks nothing:
    :func:`check_event` does, and everything that stores events calls it.
    """

    event_id: UUID
    timestamp: datetime
    company_id: str
    user_id: str | None
    event_type: str
    category: str
    value: Decimal | None
    currency: str | None
    metadata: dict[str, Any]


FIELDS: Final = frozenset(AnalyticsEvent._fields)


def parse_event(raw: Mapping[str, Any], *, now: datetime | None = None) -> AnalyticsEvent:
    """Return the event a raw record (of JSON, CSV or Parquet) describes.

    Absent and null fields are the same. Raises ``RejectedEvent`` naming field, value and remedy.
    ``now`` bounds the future: the database's time. Without it an event of the future passes, and whoever stores it
    has to check that.
    """
    if not raw.keys() <= FIELDS:
        name = min(raw.keys() - FIELDS, key=str)
        raise RejectedEvent(
            "unknown field", f"unknown field {shown(name)}: move it into metadata, or it would be lost."
        )
    # Texts and objects come as they are: check_event() refuses what isn't one.
    get: Callable[[str], Any] = raw.get
    value, metadata = get("value"), get("metadata")
    event = AnalyticsEvent(
        _to_uuid(get("event_id")),
        _to_instant(get("timestamp")),
        get("company_id"),
        get("user_id"),
        get("event_type"),
        get("category"),
        None if value is None else to_decimal(value, "value"),
        _to_code(get("currency"), get("category"), metadata),
        {} if metadata is None else metadata,
    )
    check_event(event, now=now)
    return event


def check_event(event: AnalyticsEvent, *, now: datetime | None = None) -> None:
    """Raise ``RejectedEvent`` if the event breaks a rule, whoever built it; ``now`` as for ``parse_event``."""
    _check_identity(event, now)
    _check_text(event.company_id, "company_id", MAX_ID_CHARACTERS)
    if event.user_id is not None:
        _check_text(event.user_id, "user_id", MAX_ID_CHARACTERS)
    _check_text(event.event_type, "event_type", MAX_TYPE_CHARACTERS)
    if event.category not in CATEGORIES:
        raise _bad_category(event.category)
    if event.value is not None:
        if not isinstance(event.value, Decimal):
            raise RejectedEvent("value is not a number", f"value {shown(event.value)} is not a Decimal.")
        check_amount(event.value, "value")
        if event.currency is None:
            raise RejectedEvent(
                "value without currency", f"value {event.value} has no currency: name its currency or ticker."
            )
    if event.currency is not None:
        _check_currency(event.currency, "currency")
        if event.category == CRYPTO and is_currency(event.currency):
            raise _ambiguous(event.currency)
    _check_metadata(event.metadata)
    _check_meaning(event)


def _to_uuid(raw: object) -> UUID:
    if isinstance(raw, str) and _is_uuid(raw):
        return UUID(raw)
    if isinstance(raw, UUID):
        return raw
    if raw is None:
        raise _missing("event_id", "without it the same event sent twice would count twice")
    raise RejectedEvent(
        "event_id is not a UUID",
        f"event_id {shown(raw)} is not a UUID: write it like 0b1c2d3e-1111-4222-8333-444455556666.",
    )


def _to_instant(raw: object) -> datetime:
    if isinstance(raw, str):
        if not _is_instant(raw):
            raise _bad_instant(raw)
        try:
            instant = datetime.fromisoformat(raw)
            return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise RejectedEvent(
                "timestamp is not a time", f"timestamp {shown(raw)} is no point in time: {error}."
            ) from error
    if isinstance(raw, datetime):
        if raw.tzinfo is None:
            raise _without_zone(raw.isoformat())
        return raw.astimezone(UTC)
    if raw is None:
        raise _missing("timestamp", "say when the event happened")
    raise _bad_instant(raw)


def _check_identity(event: AnalyticsEvent, now: datetime | None) -> None:
    if not isinstance(event.event_id, UUID):
        raise RejectedEvent("event_id is not a UUID", f"event_id {shown(event.event_id)} is not a UUID.")
    timestamp = event.timestamp
    if timestamp.tzinfo is not UTC:
        if timestamp.tzinfo is None:
            raise _without_zone(timestamp.isoformat())
        if timestamp.utcoffset():
            raise RejectedEvent(
                "timestamp is not in UTC",
                f"timestamp {timestamp.isoformat()} is not in UTC: convert it with astimezone(UTC).",
            )
    if timestamp < FIRST_INSTANT:
        raise RejectedEvent(
            "timestamp before 1970",
            f"timestamp {timestamp.isoformat()} is before 1970: check the sender's clock.",
        )
    if now is not None and timestamp - now > MAX_CLOCK_SKEW:
        raise RejectedEvent(
            "timestamp in the future",
            f"timestamp {timestamp.isoformat()} is more than five minutes in the future: send events after they "
            "happen, and check the sender's clock and zone.",
        )


def _check_text(text: object, field: str, limit: int) -> None:
    # The one blank a printable text can hold is the space.
    if isinstance(text, str) and 0 < len(text) <= limit and text.isprintable() and text[0] != " " and text[-1] != " ":
        return
    if text is None:
        raise _missing(field, "every event has one")
    if not isinstance(text, str):
        raise RejectedEvent(f"{field} is not a text", f"{field} {shown(text)} is not a text: put it in quotes.")
    if len(text) > limit:
        raise RejectedEvent(
            f"{field} is too long",
            f"{field} {shown(text)} has {len(text):,} characters: at most {limit} are kept.",
        )
    _check_storable(text, field)
    if text != text.strip() or not text:
        raise RejectedEvent(
            f"{field} has blanks around it" if text.strip() else f"{field} is blank",
            f"{field} {shown(text)} is empty or has blanks around it: trim it, or leave an optional field out.",
        )


def _check_storable(text: str, field: str) -> None:
    if "\0" in text:
        raise RejectedEvent("NUL character", f"{field} {shown(text)} holds a NUL character: remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RejectedEvent(
            "not valid Unicode", f"{field} {shown(text)} holds half of a surrogate pair: repair its encoding."
        ) from error


def _to_code(currency: object, category: object, metadata: object) -> Any:
    """Return the code of what an amount is in: of a coin that shares a currency's code the one of its own."""
    if (
        category == CRYPTO
        and isinstance(currency, str)
        and is_currency(currency)
        and isinstance(metadata, dict)
        and metadata.get("asset") == CRYPTO
    ):
        return crypto_code(currency)
    return currency


def _check_currency(currency: object, field: str) -> None:
    if not isinstance(currency, str) or not is_asset(currency):
        raise RejectedEvent(f"{field} of the wrong form", f"{field} {shown(currency)} is {ASSET_FORM_TOLD}.")


def _ambiguous(currency: str) -> RejectedEvent:
    return RejectedEvent(
        "currency is a currency's code",
        f"currency {currency} is the code of a currency (ISO 4217), and {CRYPTO} events are about assets: send "
        f'metadata.asset "{CRYPTO}" with a coin of that name.',
    )


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict):
        raise RejectedEvent(
            "metadata is not an object",
            f'metadata {shown(metadata)} is not an object: write it like {{"key": 1}}.',
        )
    if metadata and _measure(metadata, "metadata", 1) > MAX_METADATA_CHARACTERS:
        raise RejectedEvent(
            "metadata is too large",
            f"metadata is larger than {MAX_METADATA_CHARACTERS:,} characters: shorten it.",
        )


def _measure(value: object, key: str, depth: int) -> int:
    """Return about how many characters the value of the key takes, having checked that ``jsonb`` can hold it all."""
    if isinstance(value, str):
        if not value.isprintable():
            _check_storable(value, f"{shown(key)} of metadata")
        return len(value)
    if value is None or isinstance(value, bool):
        return _SCALAR_CHARACTERS
    if isinstance(value, int) or isinstance(value, float | Decimal):  # noqa: SIM101 - one type is checked much faster
        check_metadata_number(value, key)
        return _SCALAR_CHARACTERS
    if depth > MAX_METADATA_DEPTH:
        raise RejectedEvent(
            "metadata is too deep",
            f"metadata is nested more than {MAX_METADATA_DEPTH} levels deep: flatten it.",
        )
    if isinstance(value, dict):
        size = 0
        for name, item in value.items():
            if not isinstance(name, str):
                raise RejectedEvent("metadata is not JSON", f"{key} has the key {shown(name)}, which is not a text.")
            if not name.isprintable():
                _check_storable(name, f"a key of {key}")
            size += len(name) + _measure(item, name, depth + 1)
        return size
    if isinstance(value, list):
        return sum(_measure(item, key, depth + 1) for item in value)
    raise RejectedEvent(
        "metadata is not JSON",
        f"{shown(key)} of metadata is a {type(value).__name__}, which JSON can't hold: write it as text.",
    )


def _check_meaning(event: AnalyticsEvent) -> None:
    """Check what the catalogue says about the type."""
    known = known_type(event.event_type)
    if known is None:
        if event.category == CRYPTO:
            _check_fiat_value(event.metadata)
        return
    if event.category != known.category:
        raise RejectedEvent(
            "event type in the wrong category",
            f"category {event.category} is not that of {event.event_type}: it is {known.category}.",
        )
    _check_sign(event, known.amount)
    if known.category == CRYPTO:
        _check_fiat_value(event.metadata)
    elif known.category == "subscription":
        _check_subscription(event)


def _check_sign(event: AnalyticsEvent, amount: Amount) -> None:
    value = event.value
    if amount is Amount.OPTIONAL:
        return
    if value is None:
        if amount is not Amount.PRICE:
            raise _missing("value", f"{event.event_type} has an amount")
    elif value > 0 and amount is Amount.NOT_POSITIVE:
        raise RejectedEvent(
            "value of the wrong sign",
            f"value {value} of {event.event_type} must not be positive: send {-value}.",
        )
    elif value < 0 and amount in (Amount.NOT_NEGATIVE, Amount.PRICE):
        raise RejectedEvent(
            "value of the wrong sign",
            f"value {value} of {event.event_type} must not be negative: refunds and credits have types of their own.",
        )


def _check_fiat_value(metadata: Mapping[str, object]) -> None:
    value, currency = metadata.get("fiat_value"), metadata.get("fiat_currency")
    if value is None and currency is None:
        return
    if value is None or currency is None:
        name = "fiat_value" if value is None else "fiat_currency"
        raise _missing(f"metadata.{name}", "fiat_value and fiat_currency go together")
    check_amount(to_decimal(value, "metadata.fiat_value"), "metadata.fiat_value")
    _check_currency(currency, "metadata.fiat_currency")


def _check_subscription(event: AnalyticsEvent) -> None:
    metadata = event.metadata
    _check_text(metadata.get("subscription_id"), "metadata.subscription_id", MAX_ID_CHARACTERS)
    _check_choice(metadata.get("interval"), "metadata.interval", INTERVALS)
    _check_count(metadata.get("interval_count"), "metadata.interval_count", 1, MAX_INTERVAL_COUNT)
    _check_count(metadata.get("quantity"), "metadata.quantity", 0, MAX_QUANTITY)
    status = metadata.get("status")
    _check_choice(status, "metadata.status", STATUSES)
    fitting = STATUSES_OF_TYPES.get(event.event_type, STATUSES)
    if status not in fitting:
        raise RejectedEvent(
            "metadata.status contradicts the event type",
            f"metadata.status {status} contradicts {event.event_type}, which goes with {' or '.join(fitting)}: correct "
            "one of the two.",
        )
    if event.value is None and status in ("active", "past_due"):
        raise _missing("value", f"a subscription that is {status} has a price per interval")


def _check_choice(value: object, field: str, choices: tuple[str, ...]) -> None:
    if value is None:
        raise _missing(field, f"one of {', '.join(choices)}")
    if value not in choices:
        raise RejectedEvent(f"unknown {field}", f"{field} {shown(value)} is unknown: one of {', '.join(choices)}.")


def _check_count(value: object, field: str, least: int, most: int) -> None:
    if value is None:
        raise _missing(field, f"a whole number from {least}")
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise RejectedEvent(
            f"{field} is not a count",
            f"{field} {shown(value)} is not a whole number from {least} to {most:,}.",
        )


def _missing(field: str, why: str) -> RejectedEvent:
    return RejectedEvent(f"{field} is missing", f"{field} is missing: {why}.")


def _bad_category(category: object) -> RejectedEvent:
    if category is None:
        return _missing("category", f"one of {', '.join(CATEGORIES)}")
    return RejectedEvent("unknown category", f"category {shown(category)} is unknown: one of {', '.join(CATEGORIES)}.")


def _without_zone(text: str) -> RejectedEvent:
    return RejectedEvent(
        "timestamp without zone", f"timestamp {shown(text)} has no time zone: add Z or an offset like +02:00."
    )


def _bad_instant(raw: object) -> RejectedEvent:
    if isinstance(raw, str) and _is_instant_without_zone(raw):
        return _without_zone(raw)
    if isinstance(raw, str) and _is_finer_than_microseconds(raw):
        return RejectedEvent(
            "timestamp would lose digits",
            f"timestamp {shown(raw)} is finer than a microsecond: round it at the source.",
        )
    return RejectedEvent(
        "timestamp is not a time",
        f"timestamp {shown(raw)} is not like 2025-01-31T23:59:59Z (ISO 8601 with a zone).",
    )
