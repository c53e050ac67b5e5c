"""Rates of exchange: every currency in use has one, as new as the data, without gaps."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from psycopg.types.json import Jsonb

from analytics_pipeline.asset_names import FX_ASSET
from analytics_pipeline.fx.csv_rates import read_rates
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.health.check_result import State
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events_factory import add_event
from analytics_pipeline_tests.health.conftest import Ask, setting

pytestmark = pytest.mark.slow

FRESH, WITHOUT_GAPS = "rates_fresh", "rates_without_gaps"


@pytest.fixture(autouse=True)
def _from_the_beginning(monkeypatch: pytest.MonkeyPatch, environment: pytest.MonkeyPatch) -> None:
    setting(monkeypatch, start="2020-01-01")


def _day(days_ago: int) -> str:
    return str(datetime.now(UTC).date() - timedelta(days=days_ago))


def _at(days_ago: int) -> str:
    # The first minute of a day: today's has always passed.
    return f"{_day(days_ago)}T00:00"


def _pay(connection: Connection, currency: str, *days_ago: int) -> None:
    for days in days_ago:
        add_event(connection, _at(days), currency=currency)


def _load(connection: Connection, base: str, quote: str, *days_ago: int) -> None:
    lines = [f"{_day(days)},{base},{quote},1.25" for days in days_ago]
    store_rates(connection, [read_rates("\n".join(["rate_date,base,quote,rate", *lines]).encode(), "test")])


def test_the_reporting_currency_alone_needs_no_rates(ask: Ask, connection: Connection) -> None:
    assert "in a currency other than EUR" in ask(FRESH, FX_ASSET).summary
    _pay(connection, "EUR", 400, 1)
    assert ask(FRESH, FX_ASSET).passed
    assert ask(WITHOUT_GAPS, FX_ASSET).passed


def test_a_currency_without_any_rate_is_an_error_that_names_it_and_the_command(
    ask: Ask, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pay(connection, "USD", 1)
    finding = ask(FRESH, FX_ASSET)
    assert finding.state is State.ERROR
    assert "no rate at all leads from USD to EUR" in finding.summary.replace("No rate", "no rate")
    assert finding.remedies[0] == "analytics-pipeline fx load --ecb"
    assert f"rows like {_day(1)},USD,EUR,<rate>" in finding.remedies[1]
    assert ask(WITHOUT_GAPS, FX_ASSET).state is State.ERROR
    setting(monkeypatch, fx_source="/data/rates.csv")
    assert ask(FRESH, FX_ASSET).remedies[0] == "analytics-pipeline fx load"
    setting(monkeypatch, base_currency="USD")
    assert ask(FRESH, FX_ASSET).passed


@pytest.mark.parametrize(
    ("age", "state"),
    [(0, State.OK), (4, State.OK), (5, State.WARNING), (7, State.WARNING), (8, State.ERROR), (300, State.ERROR)],
)
def test_the_newest_rate_may_be_a_long_weekend_old(ask: Ask, connection: Connection, age: int, state: State) -> None:
    _pay(connection, "USD", 10, 0)
    _load(connection, "EUR", "USD", age, age + 3)
    finding = ask(FRESH, FX_ASSET)
    assert finding.state is state
    assert finding.metadata["currencies"] == [{"currency": "USD", "newest rate": _day(age), "age (days)": age}]
    assert (finding.limits["days allowed"], finding.limits["days before a warning"]) == (7, 4)
    if not finding.passed:
        assert f"USD of {_day(age)}, {age} days before the newest event" in finding.summary
        assert finding.remedies[0] == (
            "analytics-pipeline fx load https://www.ecb.europa.eu/stats/eurofxref/eurofxref-hist.zip"
        )


def test_age_is_counted_to_the_newest_event_of_any_kind(ask: Ask, connection: Connection) -> None:
    _pay(connection, "USD", 30)
    _load(connection, "EUR", "USD", 31)
    assert ask(FRESH, FX_ASSET).passed, "the data ends there, and so may the rates"
    add_event(connection, _at(2), "user.login", category="user_activity", value=None, currency=None)
    assert ask(FRESH, FX_ASSET).state is State.ERROR
    _load(connection, "EUR", "USD", 3)
    assert ask(FRESH, FX_ASSET).passed


def test_a_currency_of_long_ago_need_not_be_fresh_but_converted(ask: Ask, connection: Connection) -> None:
    _pay(connection, "USD", 100, 80)
    _pay(connection, "EUR", 0)
    assert ask(FRESH, FX_ASSET).passed
    assert ask(WITHOUT_GAPS, FX_ASSET).state is State.ERROR
    _load(connection, "EUR", "USD", 105, 97, 89, 81)
    assert ask(WITHOUT_GAPS, FX_ASSET).passed


def test_days_without_a_rate_are_listed_and_only_those(ask: Ask, connection: Connection) -> None:
    _pay(connection, "USD", 60, 20)
    # Days 54 to 47 are served by the rate of day 54; the gap before it and the one after it are not.
    _load(connection, "EUR", "USD", 70, 54, 40, 33, 25)
    finding = ask(WITHOUT_GAPS, FX_ASSET)
    assert finding.state is State.ERROR
    assert finding.metadata["gaps"] == [
        {"currency": "USD", "from": _day(60), "to": _day(55), "days": 6},
        {"currency": "USD", "from": _day(46), "to": _day(41), "days": 6},
    ]
    assert finding.metadata["days without a rate"] == 12
    assert f"USD {_day(60)} to {_day(55)}; USD {_day(46)} to {_day(41)}" in finding.summary
    assert finding.remedies[0] == "analytics-pipeline fx load --ecb"
    _load(connection, "EUR", "USD", 62, 47)
    assert [(gap["from"], gap["days"]) for gap in ask(WITHOUT_GAPS, FX_ASSET).metadata["gaps"]] == []


def test_a_pair_turned_round_and_a_third_currency_serve_too(ask: Ask, connection: Connection) -> None:
    _pay(connection, "USD", 3, 1)
    _load(connection, "USD", "EUR", 3)
    assert ask(FRESH, FX_ASSET).passed
    _pay(connection, "CHF", 3, 1)
    assert not ask(FRESH, FX_ASSET).passed
    _load(connection, "CHF", "USD", 4, 2)
    assert ask(FRESH, FX_ASSET).passed
    assert ask(WITHOUT_GAPS, FX_ASSET).passed
    _pay(connection, "CHF", 12)
    _load(connection, "CHF", "USD", 12)
    # That day has the first leg alone.
    assert ask(WITHOUT_GAPS, FX_ASSET).metadata["gaps"][0]["from"] == _day(12)


@pytest.mark.parametrize(
    ("event_type", "category", "currency", "metadata"),
    [
        ("invoice.created", "billing", "USD", {}),
        ("subscription.started", "subscription", "USD", {}),
        ("crypto.received", "crypto", "BTC", {"fiat_value": "1", "fiat_currency": "USD"}),
    ],
)
def test_invoices_subscriptions_and_the_value_of_crypto_use_currencies(
    ask: Ask, connection: Connection, event_type: str, category: str, currency: str, metadata: dict[str, str]
) -> None:
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, event_type, category, value, currency, '
        "metadata) VALUES (%s, %s::timestamptz, 'acme', %s, %s, %s, %s, %s)",
        [uuid.uuid4(), f"{_at(1)}Z", event_type, category, Decimal(1), currency, Jsonb(metadata)],
    )
    finding = ask(FRESH, FX_ASSET)
    assert [row["currency"] for row in finding.metadata["currencies"]] == ["USD"]
    assert finding.state is State.ERROR


def test_a_running_subscription_uses_its_currency_though_nothing_happens(ask: Ask, connection: Connection) -> None:
    _pay(connection, "EUR", 0)
    connection.execute(
        "INSERT INTO analytics_subscriptions (company_id, subscription_id, valid_from, valid_to, status, price, "
        'currency, "interval", interval_count, quantity, monthly_amount, was_paid, event_type, event_id) VALUES '
        "('acme', 's1', %s::timestamptz, NULL, 'active', 10, 'USD', 'year', 1, 1, 1, true, "
        "'subscription.started', gen_random_uuid())",
        [f"{_at(300)}Z"],
    )
    assert ask(FRESH, FX_ASSET).state is State.ERROR
    connection.execute("UPDATE analytics_subscriptions SET valid_to = %s::timestamptz", [f"{_at(200)}Z"])
    assert ask(FRESH, FX_ASSET).passed
    connection.execute("UPDATE analytics_subscriptions SET valid_to = NULL, status = 'paused', monthly_amount = 0")
    assert ask(FRESH, FX_ASSET).passed


def test_a_ticker_of_crypto_needs_rates_only_once_it_has_some(ask: Ask, connection: Connection) -> None:
    for days in (40, 20, 1):
        add_event(connection, _at(days), "crypto.sent", category="crypto", currency="BTC")
    add_event(connection, _at(5), "crypto.sent", category="crypto", currency="ETH")
    # Its first rate is younger than its last event.
    _load(connection, "ETH", "EUR", 0)
    assert ask(FRESH, FX_ASSET).passed
    assert ask(WITHOUT_GAPS, FX_ASSET).passed
    _load(connection, "BTC", "EUR", 20)
    assert ask(FRESH, FX_ASSET).state is State.ERROR
    assert ask(WITHOUT_GAPS, FX_ASSET).metadata["gaps"] == [
        {"currency": "BTC", "from": _day(12), "to": _day(1), "days": 12}
    ]


def test_a_source_that_has_ended_for_a_currency_is_said_to_have_and_is_no_failure(
    ask: Ask, connection: Connection
) -> None:
    _pay(connection, "RUB", 120, 1)
    _pay(connection, "USD", 1)
    _load(connection, "EUR", "RUB", 121, 113, 106)
    _load(connection, "EUR", "USD", 3)
    for check in (FRESH, WITHOUT_GAPS):
        finding = ask(check, FX_ASSET)
        assert finding.state is State.WARNING
        assert f"source of RUB has ended: test has no rate of it after {_day(106)}" in finding.summary
        assert finding.remedies == (f"analytics-pipeline fx load FILE  # rates of RUB after {_day(106)}",)
    # A gap before the end is one still, and so is a currency that goes on.
    _pay(connection, "RUB", 140)
    assert ask(WITHOUT_GAPS, FX_ASSET).state is State.ERROR
    _load(connection, "EUR", "RUB", 141, 133, 125)
    assert ask(WITHOUT_GAPS, FX_ASSET).state is State.WARNING
    _load(connection, "EUR", "RUB", 98, 90, 82, 74, 66, 58, 50, 42, 34, 26, 18, 10, 2)
    assert ask(WITHOUT_GAPS, FX_ASSET).passed
    assert ask(FRESH, FX_ASSET).passed


def test_a_member_of_the_euro_needs_no_more_rates(ask: Ask, connection: Connection) -> None:
    add_event(connection, "2022-12-29T00:00", currency="HRK")
    _pay(connection, "HRK", 1)
    lines = "rate_date,base,quote,rate\n2022-12-29,EUR,HRK,7.5"
    store_rates(connection, [read_rates(lines.encode(), "ecb")])
    _load(connection, "EUR", "USD", 1)
    assert ask(FRESH, FX_ASSET).passed
    assert ask(WITHOUT_GAPS, FX_ASSET).passed
    add_event(connection, "2022-12-20T00:00", currency="HRK")
    assert ask(WITHOUT_GAPS, FX_ASSET).metadata["gaps"] == [
        {"currency": "HRK", "from": "2022-12-20", "to": "2022-12-28", "days": 9}
    ]
