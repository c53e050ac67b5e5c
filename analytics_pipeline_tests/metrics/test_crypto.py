"""What was received, sent and swapped of each crypto asset, as an answer and in SQL."""

import json
from decimal import Decimal

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.metrics.answers import crypto_answer
from analytics_pipeline.metrics.crypto import asset_volumes
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import days

FEBRUARY = days("2025-02-01", "2025-02-28")


@pytest.fixture
def wallets(connection: Connection) -> Connection:
    """Two companies with BTC at 60,000 EUR on 10 February and 50,000 on 12 February, and a coin that has no rate."""
    for day, rate in (("2025-02-10", 60_000), ("2025-02-12", 50_000)):
        connection.execute(
            "INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source) VALUES (%s, 'BTC', 'EUR', %s, 'x')",
            [day, rate],
        )
    for when, what, value, currency, company in (
        ("02-10T08:30", "received", "0.00012345", "BTC", "acme"),
        ("02-10T22:00", "received", "1", "BTC", "beta"),
        ("02-12T10:00", "sent", "0.5", "BTC", "acme"),
        ("02-12T10:00", "swapped", "0.25", "BTC", "acme"),
        ("02-12T10:00", "swapped", "3", "NOCOIN", "acme"),
        ("02-12T10:00", "staked", "9", "BTC", "acme"),
    ):
        add_event(
            connection,
            f"2025-{when}",
            f"crypto.{what}",
            category="crypto",
            value=value,
            currency=currency,
            company_id=company,
        )
    return connection


def test_each_asset_has_its_quantities_and_what_they_were_worth_on_their_days(wallets: Connection) -> None:
    for close in (False, True):
        if close:
            for aggregate in AGGREGATES:
                if aggregate.name.startswith("analytics_crypto"):
                    refresh(wallets, aggregate, FEBRUARY.widen(aggregate.granularity))
        assert crypto_answer(wallets, "acme", FEBRUARY, "EUR")["assets"] == [
            {
                "asset": "BTC",
                "received": Decimal("0.00012345"),
                "receivedValue": Decimal("7.41"),
                "sent": Decimal("0.50000000"),
                "sentValue": Decimal("25000.00"),
                "swapped": Decimal("0.25000000"),
                "swappedValue": Decimal("12500.00"),
                "transactions": 3,
            },
            {
                "asset": "NOCOIN",
                "received": 0,
                "receivedValue": 0,
                "sent": 0,
                "sentValue": 0,
                "swapped": Decimal(3),
                "swappedValue": None,
                "transactions": 1,
            },
        ]
        (bitcoin, _) = crypto_answer(wallets, None, FEBRUARY, "EUR")["assets"]
        assert (bitcoin["received"], bitcoin["receivedValue"]) == (Decimal("1.00012345"), Decimal("60007.41"))


def test_any_period_has_what_happened_within_it(wallets: Connection) -> None:
    """From hours of one day to hours of another, with whole days between or without."""
    for start, end, moved in (
        ("10T08:30", "10T22:00", [("BTC", Decimal("0.00012345"), 0)]),
        ("10T08:31", "12T10:00", [("BTC", 1, 0)]),
        ("10T22:01", "12T10:00", []),
        ("09T12:00", "12T10:01", [("BTC", Decimal("1.00012345"), Decimal("0.5")), ("NOCOIN", 0, 0)]),
    ):
        window = Window(at(f"2025-02-{start}"), at(f"2025-02-{end}"))
        volumes = asset_volumes(wallets, None, window, "EUR")
        assert [(volume.ticker, volume.received, volume.sent) for volume in volumes] == moved, window


def test_the_command_prints_it(wallets: Connection) -> None:
    asked = ["metrics", "crypto", "--company", "beta", "--start", "2025-02-10", "--end", "2025-02-10"]
    printed = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert printed["assets"][0]["receivedValue"] == "60000.00"
    assert (printed["currency"], printed["companyId"]) == ("EUR", "beta")
    assert "60,000.00" in CliRunner().invoke(main, asked).stdout
    nothing = CliRunner().invoke(main, ["metrics", "crypto", "--start", "2025-02-20", "--end", "2025-02-20"])
    assert "assets: none in this period." in nothing.stdout
