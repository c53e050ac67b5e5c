"""The event, and everything that must hold for one before it is stored."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from analytics_pipeline.currencies import ASSET_FORM, crypto_code, is_asset, is_currency
from analytics_pipeline.events.aliases import NO_ALIASES, Aliases
from analytics_pipeline.events.erased import NO_ERASED, ErasedIds
from analytics_pipeline.events.event_types import CATEGORIES, CRYPTO, Amount, EventType, known_type
from analytics_pipeline.events.ids import MAX_ID_CHARACTERS, check_id, check_storable, check_text, to_event_id, to_id
from analytics_pipeline.events.instants import to_instant, without_zone
from analytics_pipeline.intake.exact_numbers import (
    check_amount,
    check_metadata_number,
    is_nan,
    not_finite,
    to_amount,
    to_decimal,
)
from analytics_pipeline.intake.rejection import RejectedEvent, shown

MAX_TYPE_CHARACTERS: Final = 100
MAX_METADATA_CHARACTERS: Final = 65_536
MAX_METADATA_DEPTH: Final = 32
MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
FIRST_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)

INTERVALS: Final = ("day", "week", "month", "year")
STATUSES: Final = ("active", "trialing", "past_due", "paused", "ended")
# Those with a price that counts.
PRICED_STATUSES: Final = ("active", "past_due")
# What a type says about the status by itself; the other types go with any.
STATUSES_OF_TYPES: Final = {
    "subscription.paused": ("paused",),
    "subscription.resumed": ("active", "trialing", "past_due"),
    "subscription.past_due": ("past_due",),
    "subscription.ended": ("ended",),
}
MAX_INTERVAL_COUNT: Final = 1_200
MAX_QUANTITY: Final = 1_000_000_000

# Python looks a member of an Enum up anew each time it is named: these are named once.
_NOT_POSITIVE = Amount.NOT_POSITIVE
_NOT_NEGATIVE = (Amount.NOT_NEGATIVE, Amount.PRICE)
_WITH_AMOUNT = (Amount.NOT_NEGATIVE, Amount.NOT_POSITIVE, Amount.REQUIRED)

_SCALAR_CHARACTERS = 8
# Metadata of so many keys, texts and digits is far within all bounds.
_SMALL_METADATA = 50
_SMALL_TEXT = 200
_SMALL_INTEGER = 10**18
# Bounds what is remembered of ids, in memory, and of types with their category and currency.
_MAX_REMEMBERED = 50_000
_MAX_KINDS = 4_096

# The key of metadata under which an id that is no UUID is kept as it came.
SOURCE_ID: Final = "source_id"


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


@dataclass(frozen=True, slots=True)
class Parsing:
    """How records are parsed where they leave it open; ``adjusted`` counts what was adjusted on the way.

    ``assume_zone`` is that of instants without one, ``decimal_comma`` says that texts write numbers like ``12,50``, and
    ``aliases`` are the former names of companies and users. ``erased`` are the ids that no event may bear any more.
    """

    assume_zone: tzinfo | None = None
    decimal_comma: bool = False
    aliases: Aliases = NO_ALIASES
    erased: ErasedIds = NO_ERASED
    adjusted: Counter[str] = field(default_factory=Counter)
    # Ids that were read before, as they came, and as what: most are named again and again.
    _companies: dict[str, str] = field(default_factory=dict)
    _users: dict[tuple[str, str], str] = field(default_factory=dict)

    def company(self, raw: object) -> str:
        """Return the company that a record names; raises ``RejectedEvent`` as ``to_id`` does."""
        known = self._companies.get(raw) if isinstance(raw, str) else None
        if known is not None:
            return known
        company_id = to_id(self.aliases.company(raw), "company_id")
        if isinstance(raw, str):
            _remember(self._companies, raw, company_id)
        return company_id

    def user(self, company_id: str, raw: object) -> str | None:
        """Return the user that a record of the company names, if any; raises ``RejectedEvent`` as ``to_id`` does."""
        if isinstance(raw, str):
            known = self._users.get((company_id, raw))
            if known is None:
                known = to_id(self.aliases.user(company_id, raw), "user_id")
                _remember(self._users, (company_id, raw), known)
            return known
        return None if _is_null(raw) else to_id(raw, "user_id")


def _remember(known: dict[Any, str], raw: Any, name: str) -> None:
    if len(known) >= _MAX_REMEMBERED:
        known.clear()
    known[raw] = name


def parse_event(
    raw: Mapping[str, Any], *, now: datetime | None = None, parsing: Parsing | None = None
) -> AnalyticsEvent:
    """Return the event a raw record (of JSON, CSV, Parquet, an ERP or a call) describes.

    Absent and null fields are the same. Raises ``RejectedEvent`` naming field, value and remedy.
    ``now`` bounds the future: the database's time. Without it an event of the future passes, and whoever stores it
    has to check that.
    """
    if not raw.keys() <= FIELDS:
        name = min(raw.keys() - FIELDS, key=str)
        raise RejectedEvent(
            "unknown field", f"unknown field {shown(name)}: move it into metadata, or it would be lost."
        )
    return parse_fields(map(raw.get, AnalyticsEvent._fields), now, parsing or Parsing())


def parse_fields(fields: Iterable[Any], now: datetime | None, parsing: Parsing) -> AnalyticsEvent:
    """Return the event that the raw fields describe, in the order of ``AnalyticsEvent``; as ``parse_event`` does."""
    raw_id, timestamp, raw_company, raw_user, event_type, category, raw_value, currency, metadata = fields
    company_id = parsing.company(raw_company)
    event_id, source_id = to_event_id(raw_id, company_id)
    instant = to_instant(timestamp, parsing.assume_zone, parsing.adjusted)
    # Texts and objects come as they are: _check_rules() refuses what isn't one.
    if not isinstance(metadata, dict):
        metadata = {} if _is_null(metadata) else metadata
    metadata = _with_ids(metadata, source_id)
    value = None
    if raw_value is not None:
        value = to_amount(raw_value, "value", parsing.decimal_comma) if not is_nan(raw_value) else None
        if value is None and not _needs_no_amount(event_type, metadata):
            raise not_finite("value", raw_value)
    if category == CRYPTO:
        currency = _to_code(currency, metadata)
    if not isinstance(currency, str):
        currency = None if _is_null(currency) else currency
    user_id = parsing.user(company_id, raw_user)
    event = AnalyticsEvent._make(
        (event_id, instant, company_id, user_id, event_type, category, value, currency, metadata)
    )
    _check_rules(event, now)
    return parsing.erased.conceal(event)


def check_event(event: AnalyticsEvent, *, now: datetime | None = None) -> None:
    """Raise ``RejectedEvent`` if the event breaks a rule, whoever built it; ``now`` as for ``parse_event``."""
    if not isinstance(event.event_id, UUID):
        raise RejectedEvent("event_id is not a UUID", f"event_id {shown(event.event_id)} is not a UUID.")
    check_id(event.company_id, "company_id")
    if event.user_id is not None:
        check_id(event.user_id, "user_id")
    if event.value is not None:
        if not isinstance(event.value, Decimal):
            raise RejectedEvent("value is not a number", f"value {shown(event.value)} is not a Decimal.")
        check_amount(event.value, "value")
    _check_rules(event, now)


def _check_rules(event: AnalyticsEvent, now: datetime | None) -> None:
    """Check what is to be checked of an event whose ids and amount have their form."""
    _check_instant(event.timestamp, now)
    try:
        known = _check_kind(event.event_type, event.category, event.currency)
    except TypeError:
        # A list or an object, which nothing can be remembered of.
        known = _check_kind.__wrapped__(event.event_type, event.category, event.currency)
    if event.value is not None and event.currency is None:
        raise RejectedEvent(
            "value without currency", f"value {event.value} has no currency: name its currency or ticker."
        )
    _check_metadata(event.metadata)
    _check_meaning(event, known)


@lru_cache(maxsize=_MAX_KINDS)
def _check_kind(event_type: str, category: str, currency: str | None) -> EventType | None:
    """Check type, category and currency, of which most events have the same; return what is declared about the type."""
    check_text(event_type, "event_type", MAX_TYPE_CHARACTERS)
    if category not in CATEGORIES:
        raise _bad_category(category)
    if currency is not None:
        _check_currency(currency, "currency")
        if category == CRYPTO and is_currency(currency):
            raise _ambiguous(currency)
    return known_type(event_type)


def _is_null(value: object) -> bool:
    """Return whether an optional field is absent: a column of floats has no other null than NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _with_ids(metadata: Any, source_id: str | None) -> Any:
    """Return the metadata with the event's own id, where it is no UUID, and the subscription's id as a text."""
    if not isinstance(metadata, dict):
        return metadata
    subscription_id = metadata.get("subscription_id")
    if isinstance(subscription_id, int) and not isinstance(subscription_id, bool):
        metadata = {**metadata, "subscription_id": to_id(subscription_id, "metadata.subscription_id")}
    if source_id is None:
        return metadata
    kept = metadata.get(SOURCE_ID, source_id)
    if kept != source_id:
        raise RejectedEvent(
            f"metadata.{SOURCE_ID} is not the event_id",
            f"metadata.{SOURCE_ID} {shown(kept)} stands where the event_id {shown(source_id)} is kept: give it another "
            "key.",
        )
    return {**metadata, SOURCE_ID: source_id}


def _needs_no_amount(event_type: object, metadata: object) -> bool:
    known = known_type(event_type) if isinstance(event_type, str) else None
    if known is None or known.amount is Amount.OPTIONAL:
        return True
    # A status may be anything that JSON holds.
    status = metadata.get("status") if isinstance(metadata, dict) else None
    return known.amount is Amount.PRICE and status not in PRICED_STATUSES


def _check_instant(timestamp: datetime, now: datetime | None) -> None:
    if timestamp.tzinfo is not UTC:
        if timestamp.tzinfo is None:
            raise without_zone(timestamp.isoformat())
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


def _to_code(currency: object, metadata: object) -> Any:
    """Return the code of a crypto asset: of a coin that shares a currency's code the one of its own."""
    if (
        isinstance(currency, str)
        and is_currency(currency)
        and isinstance(metadata, dict)
        and metadata.get("asset") == CRYPTO
    ):
        return crypto_code(currency)
    return currency


def _check_currency(currency: object, field: str) -> None:
    if not isinstance(currency, str) or not is_asset(currency):
        raise RejectedEvent(f"{field} of the wrong form", f"{field} {shown(currency)} is {ASSET_FORM}.")


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
    if metadata and not _is_small(metadata) and _measure(metadata, "metadata", 1) > MAX_METADATA_CHARACTERS:
        raise RejectedEvent(
            "metadata is too large",
            f"metadata is larger than {MAX_METADATA_CHARACTERS:,} characters: shorten it.",
        )


def _is_small(metadata: dict[Any, Any]) -> bool:
    """Return whether the metadata is flat, short and plain, which most is: then there is nothing to measure."""
    if len(metadata) > _SMALL_METADATA:
        return False
    for key, value in metadata.items():
        kind = type(value)
        if not (type(key) is str and key.isprintable() and len(key) <= _SMALL_TEXT):
            return False
        if kind is str:
            if not (len(value) <= _SMALL_TEXT and value.isprintable()):
                return False
        elif kind is int:
            if not -_SMALL_INTEGER < value < _SMALL_INTEGER:
                return False
        elif value is not None and kind is not bool:
            return False
    return True


def _measure(value: object, key: str, depth: int) -> int:
    """Return about how many characters the value of the key takes, having checked that ``jsonb`` can hold it all."""
    if isinstance(value, str):
        if not value.isprintable():
            check_storable(value, f"{shown(key)} of metadata")
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
                check_storable(name, f"a key of {key}")
            size += len(name) + _measure(item, name, depth + 1)
        return size
    if isinstance(value, list):
        return sum(_measure(item, key, depth + 1) for item in value)
    raise RejectedEvent(
        "metadata is not JSON",
        f"{shown(key)} of metadata is a {type(value).__name__}, which JSON can't hold: write it as text.",
    )


def _check_meaning(event: AnalyticsEvent, known: EventType | None) -> None:
    """Check what the catalogue says about the type."""
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
    if value is None:
        if amount in _WITH_AMOUNT:
            raise _missing("value", f"{event.event_type} has an amount")
    elif amount in _NOT_NEGATIVE:
        if value < 0:
            raise RejectedEvent(
                "value of the wrong sign",
                f"value {value} of {event.event_type} must not be negative: refunds and credits have types of their "
                "own.",
            )
    elif amount is _NOT_POSITIVE and value > 0:
        raise RejectedEvent(
            "value of the wrong sign",
            f"value {value} of {event.event_type} must not be positive: send {-value}.",
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
    check_text(metadata.get("subscription_id"), "metadata.subscription_id", MAX_ID_CHARACTERS)
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
    if event.value is None and status in PRICED_STATUSES:
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
