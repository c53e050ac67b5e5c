"""What an amount is in has one code, by one definition: in Python, in SQL, in events, rates and answers."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analytics_pipeline.cli import main
from analytics_pipeline.currencies import crypto_code, currencies, currency_digits, is_asset, is_currency
from analytics_pipeline.events.model import AnalyticsEvent, check_event, parse_event
from analytics_pipeline.fx.csv_rates import read_rates
from analytics_pipeline.fx.rate_store import store_rates
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events_factory import add_event

TICKERS = ["1INCH", "T", "W", "USDC.e", "cbBTC", "BTC", "stETH", "1000SATS", "BTC-PERP", "wstETH", "A" * 20]
CURRENCIES = ["EUR", "MNT", "JPY", "DEM", "HRK", "XAU"]
OWN_CODES = ["crypto:MNT", "crypto:EUR"]
NONE = ["eur", "Eur", "eUR", "Euro", "Bitcoin", "btc", "", "1", "42", "€", "EUR ", " EUR", "EUR\n", "A" * 21, "US$"]
NONE += ["crypto:", "crypto:BTC", "crypto:mnt", "crypto:crypto:MNT", "Crypto:MNT", "USDC..e", ".e", "BTC\x00"]
NONE += ["\uff25UR", "BTC "]
JANUARY = ("--start", "2026-01-01", "--end", "2026-01-31")


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


def _call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def _coin(**changes: object) -> dict[str, Any]:
    coin = {"timestamp": "2026-01-15T12:00:00Z", "event_type": "crypto.received", "category": "crypto", "metadata": {}}
    return payment(**{**coin, "value": "1.5", "currency": "MNT", **changes})


def test_python_and_sql_tell_currencies_and_crypto_assets_apart_in_the_same_way(connection: Connection) -> None:
    assert all(map(is_asset, [*TICKERS, *CURRENCIES, *OWN_CODES]))
    assert not any(map(is_asset, NONE))
    assert all(map(is_currency, CURRENCIES))
    assert not any(map(is_currency, [*TICKERS, *OWN_CODES, *NONE]))
    codes = [code for code in (*TICKERS, *CURRENCIES, *OWN_CODES, *NONE, *currencies()) if "\0" not in code]
    found = connection.execute(
        "SELECT code, analytics_is_asset(code), analytics_is_currency(code), analytics_crypto_code(code), "
        "analytics_currency_digits(code) FROM unnest(%s::text[]) AS code",
        [codes],
    ).fetchall()
    assert found == [(c, is_asset(c), is_currency(c), crypto_code(c), currency_digits(c)) for c in codes]
    assert [currency_digits(code) for code in ("EUR", "MNT", "crypto:MNT", "USDC.e", "T", "JPY")] == [2, 2, 8, 8, 8, 0]


@pytest.mark.slow
def test_tickers_as_they_are_written_go_in_with_eight_digits(connection: Connection, tmp_path: Path) -> None:
    assert _call("ingest", str(Path(__file__).parent / "events" / "data" / "tickers.jsonl")).exit_code == 0
    quantities = "SELECT ticker, quantity FROM analytics_crypto_volumes(NULL, '2026-01-01Z', '2026-02-01Z', 'EUR')"
    assert sorted(connection.execute(quantities).fetchall()) == [
        (ticker, Decimal("1.5")) for ticker in sorted(["1INCH", "T", "USDC.e", "W", "cbBTC"])
    ]
    report = ("report", *JANUARY, "--sections", "crypto", "--format", "json", "--output", str(tmp_path / "r.json"))
    assert _call(*report).exit_code == 0
    assert (tmp_path / "r.json").read_text().count('"1.50000000"') >= 5


def test_a_coin_that_shares_the_code_of_a_currency_has_a_code_of_its_own() -> None:
    for metadata in ({}, {"asset": "fiat"}, {"asset": True}, None):
        with pytest.raises(RejectedEvent, match=r'MNT is the code of a currency .* send metadata\.asset "crypto"'):
            parse_event(_coin(metadata=metadata))
    named = parse_event(_coin(metadata={"asset": "crypto"}))
    assert (named.currency, named.metadata) == ("crypto:MNT", {"asset": "crypto"})
    assert parse_event(_coin(currency="crypto:MNT")).currency == "crypto:MNT"
    assert parse_event(_coin(currency="BTC", metadata={"asset": "crypto"})).currency == "BTC"
    assert parse_event(_coin(event_type="swap.done", metadata={"asset": "crypto"})).currency == "crypto:MNT"
    with pytest.raises(RejectedEvent, match="neither a currency"):
        parse_event(_coin(currency="crypto:BTC"))
    # Whoever builds the event: checked is what is stored.
    with pytest.raises(RejectedEvent, match="is the code of a currency"):
        check_event(AnalyticsEvent._make([*named[:7], "MNT", named.metadata]))


@pytest.mark.parametrize("category", ["revenue", "billing", "user_activity", "subscription"])
def test_in_every_other_category_it_is_the_currency(category: str) -> None:
    changes = {"event_type": "fee.booked", "category": category, "currency": "MNT", "metadata": {"asset": "crypto"}}
    assert parse_event(payment(**changes)).currency == "MNT"
    for ticker in ("USDC.e", "T"):
        assert parse_event(payment(**{**changes, "currency": ticker})).currency == ticker


def test_a_coin_is_never_valued_as_the_currency(connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "coins.jsonl"
    paid = payment(timestamp="2026-01-15T12:00:00Z", value="100", currency="MNT")
    path.write_text(json_lines([_coin(metadata={"asset": "crypto"}), paid]))
    assert _call("ingest", str(path)).exit_code == 0
    assert json.loads(_call("ingest", str(path), "--json").stdout)["alreadyThere"] == 2
    # As it was recorded before such coins had codes of their own.
    add_event(connection, "2026-01-16T12:00", "crypto.received", category="crypto", value="2", currency="MNT")

    def note(*lines: str) -> None:
        store_rates(connection, [read_rates("\n".join(["rate_date,base,quote,rate", *lines]).encode(), "rates.csv")])

    def volumes() -> list[tuple[Any, ...]]:
        return connection.execute(
            "SELECT ticker, sum(quantity), sum(converted) "
            "FROM analytics_crypto_volumes(NULL, '2026-01-01Z', '2026-02-01Z', 'EUR') GROUP BY 1"
        ).fetchall()

    note("2026-01-15,EUR,MNT,4000")
    assert volumes() == [("crypto:MNT", Decimal("3.5"), None)]
    note("2026-01-15,crypto:MNT,EUR,0.8")
    assert volumes() == [("crypto:MNT", Decimal("3.5"), Decimal("2.8"))]
    answer = json.loads(_call("metrics", "revenue", *JANUARY, "--json").stdout)
    assert (answer["totalRevenue"], answer["unconverted"]) == ("0.02", [])


@pytest.mark.slow
def test_reporting_in_a_crypto_asset_is_allowed_where_there_are_rates(
    connection: Connection, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_event(connection, "2026-01-15T12:00", value="30")
    store_rates(connection, [read_rates(b"rate_date,base,quote,rate\n2026-01-15,cbBTC,EUR,60000", "rates.csv")])
    revenue = ("metrics", "revenue", *JANUARY, "--json", "--currency")
    answer = json.loads(_call(*revenue, "cbBTC").stdout)
    assert (answer["currency"], answer["totalRevenue"]) == ("cbBTC", "0.00050000")
    output = ("--sections", "headline", "--format", "json", "--output", str(tmp_path / "r.json"))
    for arguments in (revenue[:-1], ("report", *JANUARY, *output)):
        for unknown in ("XXQ", "ETH", "crypto:MNT"):
            refused = _call(*arguments, "--currency", unknown)
            assert (refused.exit_code, refused.stdout) == (2, "")
            assert f"{unknown!r} is unknown: it is no currency (ISO 4217)" in refused.stderr
        assert _call(*arguments, "--currency", "eur").exit_code == 2
        assert _call(*arguments, "--currency", "CHF").exit_code == 0, "a currency is known without rates"
    assert Settings(base_currency="cbBTC").base_currency == "cbBTC"
    with pytest.raises(ValueError, match="neither a currency"):
        Settings(base_currency="euro")
