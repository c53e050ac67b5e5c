"""What an event must look like, rule by rule."""

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analytics_pipeline.events.exact_json import _DECODER, NOT_PLAIN, parse_json, read_plain, to_json
from analytics_pipeline.events.model import AnalyticsEvent, check_event, parse_event
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline_tests.events.sample_records import payment, subscription

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)


def crypto(**metadata: object) -> dict[str, Any]:
    return payment(event_type="crypto.received", category="crypto", value="0.1", currency="BTC", metadata=metadata)


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_a_good_record_keeps_every_digit() -> None:
    raw = payment(value="0.00012345", currency="BTC", metadata={"rate": Decimal("60000.10"), "n": [1, None, True]})
    event = parse_event(raw, now=NOW)
    assert event == AnalyticsEvent(
        event_id=UUID(raw["event_id"]),
        timestamp=datetime(2025, 1, 31, 23, 59, 59, tzinfo=UTC),
        company_id="acme",
        user_id="u-1",
        event_type="payment.received",
        category="revenue",
        value=Decimal("0.00012345"),
        currency="BTC",
        metadata={"rate": Decimal("60000.10"), "n": [1, None, True]},
    )


def test_optional_fields_may_be_null_or_absent() -> None:
    absent = parse_event(
        payment(event_type="user.login", category="user_activity", user_id=..., value=..., currency=..., metadata=...)
    )
    null = parse_event(
        payment(
            event_id=str(absent.event_id),
            event_type="user.login",
            category="user_activity",
            user_id=None,
            value=None,
            currency=None,
            metadata=None,
        )
    )
    assert absent == null
    assert absent.metadata == {}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (payment(event_id=...), "event_id is missing"),
        (payment(event_id=" "), "event_id ' ' is blank"),
        (payment(event_id="e" * 201), "at most 200"),
        (payment(event_id=10**200), "at most 200 digits"),
        (payment(event_id=17.0), "neither a text nor a whole number"),
        (payment(event_id=True), "neither a text nor a whole number"),
        (payment(event_id="17\0"), "NUL"),
        (payment(event_id="17", metadata={"source_id": "18"}), "give it another key"),
        (payment(timestamp=...), "timestamp is missing"),
        (payment(timestamp="2025-01-31T10:00:00"), "no time zone"),
        (payment(timestamp="2025-01-31"), "no time zone"),
        (payment(timestamp=datetime(2025, 1, 31)), "no time zone"),  # noqa: DTZ001 - the point of it
        (payment(timestamp="2025-02-30T10:00:00Z"), "no point in time"),
        (payment(timestamp="0001-01-01T00:00:00+10:00"), "no point in time"),
        (payment(timestamp="31.01.2025"), "ISO 8601"),
        (payment(timestamp=1738281600), "ISO 8601"),
        (payment(timestamp="2025-01-31T24:00:01Z"), "no point in time"),
        (payment(timestamp="2025-01-31T22:59:60Z"), "a second 60 is the last one of a day in UTC"),
        (payment(timestamp="2025-01-31T23:59:61Z"), "no point in time"),
        (payment(timestamp="2025-01-31T10:00:00+25:00"), "no point in time"),
        (payment(timestamp="2025-01-31T10:00:00 CET"), "ISO 8601"),
        (payment(timestamp="2025-01-31Z"), "ISO 8601"),
        (payment(timestamp="20250131T100000Z"), "ISO 8601"),
        (payment(timestamp="2025-W05-5T10:00Z"), "ISO 8601"),
        (payment(timestamp="\u0662025-01-31T10:00:00Z"), "ISO 8601"),
        (payment(timestamp="1969-12-31T23:59:59Z"), "before 1970"),
        (payment(timestamp="2025-06-01T12:05:01Z"), "in the future"),
        (payment(timestamp="9999-12-31T23:59:59Z"), "in the future"),
        (payment(company_id=...), "company_id is missing"),
        (payment(company_id=17.0), "neither a text nor a whole number"),
        (payment(company_id="ac\u200bme"), "zero-width character U+200B"),
        (payment(company_id="\ufeffacme"), "zero-width character U+FEFF"),
        (payment(company_id="ac\tme"), "control or zero-width character U+0009"),
        (payment(company_id="acme\u202e"), "U+202E"),
        (payment(user_id="u\x7f"), "U+007F"),
        (payment(user_id="u\u00ad1"), "U+00AD"),
        (payment(user_id="u\u20281"), "U+2028"),
        (payment(user_id="u\u0958" * 80), "240 characters"),
        (payment(user_id=False), "neither a text nor a whole number"),
        (payment(company_id=""), "empty"),
        (payment(company_id=" acme"), "blanks around"),
        (payment(company_id="a" * 201), "at most 200"),
        (payment(company_id="ac\0me"), "NUL"),
        (payment(company_id="ac\ud800me"), "surrogate"),
        (payment(user_id=""), "empty"),
        (payment(user_id="u" * 201), "at most 200"),
        (payment(event_type=...), "event_type is missing"),
        (payment(event_type="e" * 101), "at most 100"),
        (payment(category=...), "category is missing"),
        (payment(category="money"), "category 'money' is unknown"),
        (payment(category=["revenue"]), "is unknown"),
        (payment(category="billing"), "it is revenue"),
        (payment(event_type="feature.export", category="revenue"), "it is user_activity"),
        (payment(value=...), "value is missing"),
        (payment(value=True), "not a number"),
        (payment(value="12,50"), "has a decimal comma: write it like -12.50"),
        (payment(value="1.234,50"), "not a number"),
        (payment(value="1_000"), "not a number"),
        (payment(value=[1]), "not a number"),
        (payment(value="NaN"), "not a finite number"),
        (payment(value=math.inf), "not a finite number"),
        (payment(value=Decimal("-Infinity")), "not a finite number"),
        (payment(value=0.1 + 0.2), "0.30000000000000004 is a binary fraction"),
        (payment(value="0." + "1" * 19), "more than 18 decimals"),
        (payment(value="1" * 21), "more than 20 digits"),
        (payment(value="1e999999"), "more than 20 digits"),
        (payment(currency=...), "has no currency"),
        (payment(currency="eur"), "neither a currency"),
        (payment(currency="€"), "neither a currency"),
        (payment(currency="e"), "neither a currency"),
        (payment(currency="Eur"), "neither a currency"),
        (payment(currency="EUR\n"), "neither a currency"),
        (payment(currency=978), "neither a currency"),
        (payment(value="-1"), "must not be negative"),
        (payment(event_type="payment.refunded", value="1"), "must not be positive: send -1"),
        (payment(event_type="invoice.credited", category="billing", value="1"), "must not be positive"),
        (payment(metadata=[1]), "not an object"),
        (payment(metadata="{}"), "not an object"),
        (payment(metadata={"a": ["x\0"]}), "NUL"),
        (payment(metadata={"x\0": 1}), "NUL"),
        (payment(metadata={"a": {"b": "\udfff"}}), "surrogate"),
        (payment(metadata={"a": math.nan}), "not a finite number"),
        (payment(metadata={"a": Decimal("1e400")}), "write it as text"),
        (payment(metadata={"a": 10**100}), "write it as text"),
        (payment(metadata={"a": datetime(2025, 1, 1, tzinfo=UTC)}), "datetime, which JSON can't hold"),
        (payment(metadata={1: "a"}), "not a text"),
        (payment(metadata={"a": "x" * 65_536}), "larger than"),
        (payment(metadata=deep(32)), "levels deep"),
        (payment(amount=1), "unknown field 'amount'"),
        (crypto(fiat_value="7.41"), "metadata.fiat_currency is missing"),
        (crypto(fiat_currency="EUR"), "metadata.fiat_value is missing"),
        (crypto(fiat_value="much", fiat_currency="EUR"), "metadata.fiat_value 'much' is not a number"),
        (crypto(fiat_value="7.41", fiat_currency="euro"), "neither a currency"),
        (subscription(subscription_id=...), "metadata.subscription_id is missing"),
        (subscription(interval="fortnight"), "metadata.interval 'fortnight' is unknown"),
        (subscription(interval=...), "metadata.interval is missing"),
        (subscription(interval_count=0), "whole number from 1"),
        (subscription(interval_count="1"), "whole number from 1"),
        (subscription(interval_count=True), "whole number from 1"),
        (subscription(quantity=-1), "whole number from 0"),
        (subscription(status="cancelled"), "metadata.status 'cancelled' is unknown"),
        (subscription(value="-5"), "must not be negative"),
        (subscription(value=None), "has a price"),
        (subscription(event_type="subscription.ended"), "status active contradicts subscription.ended"),
        (subscription(event_type="subscription.paused"), "goes with paused: correct one of the two"),
        (subscription(event_type="subscription.past_due", status="paused"), "goes with past_due"),
        (subscription(event_type="subscription.resumed", status="paused"), "active or trialing or past_due"),
        (subscription(event_type="subscription.resumed", status="ended"), "contradicts subscription.resumed"),
    ],
)
def test_a_bad_record_is_rejected_for_its_reason(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(RejectedEvent) as rejected:
        parse_event(raw, now=NOW)
    assert words in rejected.value.reason
    assert "\0" not in rejected.value.reason
    rejected.value.reason.encode()


@pytest.mark.parametrize(
    "raw",
    [
        payment(timestamp="2025-02-01T00:59:59+01:00"),
        payment(timestamp="2025-01-31 23:59:59.120000000Z"),
        payment(event_id="17"),
        payment(event_id=2**64 + 1, user_id=4711, company_id=17),
        payment(event_id="17", metadata={"source_id": "17"}),
        payment(timestamp="2025-06-01T12:05:00Z"),
        payment(timestamp="1970-01-01T00:00:00Z"),
        payment(value=29.33),
        payment(value=Decimal("99999999999999999999.999999999999999999")),
        payment(value=0),
        payment(value="1E+3"),
        payment(value="+.5"),
        payment(event_type="payment.disputed", value="NaN"),
        payment(event_type="user.login", category="user_activity", value=math.nan, currency=math.nan),
        subscription(value="nan", status="ended", event_type="subscription.ended"),
        payment(event_type="payment.refunded", value="-5"),
        payment(event_type="payment.refunded", value=0),
        payment(event_type="payment.disputed", value=None),
        payment(event_type="user.login", category="user_activity", value=None),
        payment(company_id="株式会社 ₿"),
        payment(metadata=deep(31)),
        payment(metadata={"note": 'a "quoted"\nback\\slash\ttab'}),
        crypto(fiat_value=Decimal("7.41"), fiat_currency="EUR"),
        crypto(),
        subscription(quantity=0),
        subscription(value=None, status="ended", event_type="subscription.ended"),
        subscription(status="paused", event_type="subscription.paused"),
        subscription(status="past_due", event_type="subscription.past_due"),
        subscription(status="trialing", event_type="subscription.resumed"),
        subscription(status="ended", event_type="subscription.changed"),
        payment(event_type="subscription.reminder_sent", category="subscription", value=None, currency=None),
    ],
)
def test_what_the_rules_allow_is_accepted(raw: dict[str, Any]) -> None:
    parse_event(raw, now=NOW)


def test_an_event_built_by_hand_is_held_to_the_same_rules() -> None:
    good = parse_event(payment(), now=NOW)
    check_event(good, now=NOW)
    for bad in (
        good._replace(value=29.33),  # type: ignore[arg-type]
        good._replace(event_id="x"),  # type: ignore[arg-type]
        good._replace(timestamp=good.timestamp.replace(tzinfo=None)),
        good._replace(timestamp=datetime.fromisoformat("2025-01-31T10:00:00+02:00")),
        good._replace(category="money"),
    ):
        with pytest.raises(RejectedEvent):
            check_event(bad, now=NOW)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"value": NaN}', "NaN"),
        ('{"value": -Infinity}', "Infinity"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ('{"a": {"b": 1, "b": 1}}', "'b' occurs twice"),
        ('{"a": 1} {"a": 2}', "something follows"),
        ("{'a': 1}", "not JSON"),
        ("", "not JSON"),
        ('{"a": "\t"}', "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "thousands of digits"),
        ('{"a": 1e99999999999999999999}', "thousands of digits"),
    ],
)
def test_text_that_is_not_strict_json_is_rejected(text: str, words: str) -> None:
    with pytest.raises(RejectedEvent, match=words):
        parse_json(text)


AMOUNTS = st.decimals(
    min_value=0, max_value=Decimal(10) ** 20 - 1, allow_nan=False, allow_infinity=False, places=18
) | st.decimals(min_value=0, max_value=10**6, allow_nan=False, places=2)


@given(AMOUNTS)
def test_any_amount_within_bounds_comes_through_json_unchanged(amount: Decimal) -> None:
    line = to_json(payment(value=amount))
    event = parse_event(parse_json(line), now=NOW)  # type: ignore[arg-type]
    assert event.value == amount


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_json_text_is_read_back_as_the_same_value(value: object) -> None:
    assert parse_json(to_json(value)) == value
    assert json.loads(to_json(value), parse_float=Decimal) == value


@given(st.dictionaries(st.sampled_from([*payment(), "extra"]), JSON_VALUES))
def test_any_object_is_an_event_or_rejected_with_a_storable_reason(fields: dict[str, object]) -> None:
    raw = {**payment(), **fields}
    reason = ""
    try:
        event = parse_event(raw, now=NOW)
    except RejectedEvent as rejected:
        reason = rejected.reason
    else:
        assert event.timestamp <= NOW + timedelta(minutes=5)
    assert "\0" not in reason
    reason.encode()


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e18))
def test_a_float_is_taken_as_it_prints_or_rejected(number: float) -> None:
    try:
        event = parse_event(payment(value=number), now=NOW)
    except RejectedEvent:
        return
    assert event.value is not None
    assert float(event.value) == number
    assert len(event.value.normalize().as_tuple().digits) <= 15


@given(
    JSON_VALUES, st.sampled_from([None, 0, 1]), st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :"), (",", "\t:")])
)
@example([], None, (",", ":"))
def test_plain_json_is_read_as_any_other(value: object, indent: int | None, separators: tuple[str, str]) -> None:
    exact = json.JSONEncoder(indent=indent, separators=separators, ensure_ascii=False, default=float).encode(value)
    for text in (exact, exact.replace(": ", ":")):
        read = read_plain(text)
        if read is not NOT_PLAIN:
            assert to_json(read) == to_json(_DECODER.decode(text))


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", 'c"', "d:"]), st.sampled_from(["x", ":", '":', " y", 1])), max_size=4)
)
def test_plain_json_has_no_key_twice(pairs: list[tuple[str, object]]) -> None:
    for colon in (":", ": ", " :", "\t: "):
        text = "{" + ",".join(f"{json.dumps(key)}{colon}{json.dumps(item)}" for key, item in pairs) + "}"
        nested = f'{{"outer":[{text}]}}'
        if len(dict(pairs)) < len(pairs):
            for each in (text, nested, text.encode(), nested.encode()):
                assert read_plain(each) is NOT_PLAIN
