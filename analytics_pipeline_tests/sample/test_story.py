"""What the sample tells: growth, seasons, users, money that adds up, crypto at a market's prices."""

from collections import Counter, defaultdict
from datetime import date, timedelta
from decimal import Decimal

import pytest

from analytics_pipeline.events.event_types import KNOWN_TYPES
from analytics_pipeline_tests.sample.conftest import END, Sample

pytestmark = pytest.mark.slow

SATURDAY = 5
# From the invoice over the payment to the last refund.
SETTLED_AFTER = timedelta(days=40)


def test_every_known_event_type_occurs(sample: Sample) -> None:
    occurring = {event.event_type for event in sample.events}
    assert occurring >= KNOWN_TYPES.keys()
    assert any(event_type.startswith("feature.") for event_type in occurring)


def test_companies_differ_in_size_and_currency(sample: Sample) -> None:
    events = Counter(event.company_id for event in sample.events)
    assert len(events) == 5
    assert max(events.values()) > 5 * min(events.values())
    payments: defaultdict[str, Counter[str | None]] = defaultdict(Counter)
    for event in sample.of_category("revenue"):
        payments[event.company_id][event.currency] += 1
    main = Counter(currencies.most_common(1)[0][0] for currencies in payments.values())
    assert main == {"EUR": 4, "USD": 1}
    assert any(len(currencies) == 2 for currencies in payments.values())


def test_revenue_grows(sample: Sample) -> None:
    revenue: defaultdict[str, Decimal] = defaultdict(Decimal)
    for event in sample.of_category("revenue"):
        revenue[f"{event.timestamp:%Y-%m}"] += event.value or 0
    months = sorted(revenue)
    assert len(months) == 13
    assert revenue[months[-1]] > revenue[months[0]] > 0


def test_weekends_are_quieter(sample: Sample) -> None:
    days = Counter(event.timestamp.date() for event in sample.of_category("user_activity"))
    weekend = [count for day, count in days.items() if day.weekday() >= SATURDAY]
    working = [count for day, count in days.items() if day.weekday() < SATURDAY]
    assert sum(weekend) / len(weekend) < 0.6 * sum(working) / len(working)


def test_invoices_pile_up_at_the_end_of_the_month(sample: Sample) -> None:
    invoices = Counter(event.timestamp.date() for event in sample.of_category("billing"))
    last_days = [count for day, count in invoices.items() if (day + timedelta(days=1)).day == 1]
    assert sum(last_days) / len(last_days) > 3 * sum(invoices.values()) / len(invoices)


def test_users_begin_with_registration_and_are_silent_once_deleted(sample: Sample) -> None:
    users: defaultdict[tuple[str, str | None], list[str]] = defaultdict(list)
    for event in sample.events:
        users[event.company_id, event.user_id].append(event.event_type)
    assert all(types[0] == "user.registered" for types in users.values())
    assert all(types.count("user.registered") == 1 for types in users.values())
    deleted = [types for types in users.values() if "user.deleted" in types]
    assert deleted
    assert all(types.index("user.deleted") == len(types) - 1 for types in deleted)


def test_some_users_fall_quiet(sample: Sample) -> None:
    last_login: dict[tuple[str, str | None], date] = {}
    for event in sample.events:
        if event.event_type == "user.login":
            last_login[event.company_id, event.user_id] = event.timestamp.date()
    quiet = [day for day in last_login.values() if day < END.date() - timedelta(days=90)]
    assert 0.1 < len(quiet) / len(last_login) < 0.7


def test_every_settled_invoice_is_paid_or_credited_to_the_cent(sample: Sample) -> None:
    invoiced: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    received: defaultdict[tuple[str, str], Decimal] = defaultdict(Decimal)
    currencies: defaultdict[tuple[str, str], set[str | None]] = defaultdict(set)
    open_ones = set()
    for event in sample.events:
        if event.category not in ("billing", "revenue"):
            continue
        invoice = event.company_id, event.metadata["invoice"]
        if event.event_type == "invoice.created" and event.timestamp > END - SETTLED_AFTER:
            open_ones.add(invoice)
        amounts = invoiced if event.category == "billing" else received
        amounts[invoice] += event.value or 0
        currencies[invoice].add(event.currency)
    settled = invoiced.keys() - open_ones
    assert settled
    assert all(invoiced[invoice] == received[invoice] for invoice in settled)
    assert received.keys() <= invoiced.keys()
    assert all(len(used) == 1 for used in currencies.values())


def test_amounts_have_no_more_decimals_than_their_currency(sample: Sample) -> None:
    for event in sample.events:
        if event.value is not None:
            assert event.value
            assert -int(event.value.as_tuple().exponent) == (8 if event.category == "crypto" else 2)


def test_crypto_is_worth_one_price_a_day_that_moves_a_little_every_day(sample: Sample) -> None:
    prices: defaultdict[tuple[str | None, str], dict[date, list[Decimal]]] = defaultdict(dict)
    for event in sample.of_category("crypto"):
        assert event.value is not None
        fiat_value = Decimal(event.metadata["fiat_value"])
        assert fiat_value.as_tuple().exponent == -2
        market = prices[event.currency, event.metadata["fiat_currency"]]
        market.setdefault(event.timestamp.date(), []).append(fiat_value / event.value)
    assert prices.keys() == {(asset, fiat) for asset in ("BTC", "ETH") for fiat in ("EUR", "USD")}
    for days in prices.values():
        before: tuple[date, Decimal] | None = None
        for day, quotes in sorted(days.items()):
            # The fiat value is rounded to the cent, the smallest one is 20.00.
            assert max(quotes) / min(quotes) < Decimal("1.001")
            if before is not None and day - before[0] == timedelta(days=1):
                assert Decimal("0.88") < quotes[0] / before[1] < Decimal("1.14")
            before = day, quotes[0]
