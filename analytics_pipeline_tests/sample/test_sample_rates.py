"""The sample's rates are the prices its events were made at."""

import csv
import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli.sample import sample as sample_command
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.fx.csv_rates import read_source
from analytics_pipeline.sample import write_rates
from analytics_pipeline_tests.sample.conftest import END, START, Sample

pytestmark = pytest.mark.slow

Prices = dict[tuple[date, str, str], Decimal]


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Prices:
    path = tmp_path_factory.mktemp("rates") / "rates.csv"
    write_rates(path, seed=7, start=START, months=13)
    reading = read_source(str(path))
    assert reading.rejects == []
    return {rate[:3]: rate.rate for rate in reading.rates}


def test_every_day_from_the_first_to_the_last_has_every_rate(prices: Prices) -> None:
    days = (END.date() - START).days
    pairs = (("EUR", "USD"), ("BTC", "EUR"), ("ETH", "EUR"))
    assert prices.keys() == {(START + timedelta(days=n), *pair) for n in range(days) for pair in pairs}
    assert len({prices[START + timedelta(days=n), "EUR", "USD"] for n in range(30)}) > 20, "it moves"


def test_crypto_is_worth_what_its_quantity_costs_at_the_rates(sample: Sample, prices: Prices) -> None:
    crypto = sample.of_category("crypto")
    assert {event.metadata["fiat_currency"] for event in crypto} == {"EUR", "USD"}
    for event in crypto:
        assert event.value is not None
        day, asset = event.timestamp.date(), event.currency or ""
        euros = event.value * prices[day, asset, "EUR"]
        rate = prices[day, "EUR", "USD"] if event.metadata["fiat_currency"] == "USD" else 1
        # Prices in dollars are whole cents, rounded down: a hundredth of a dollar a coin.
        tolerance = Decimal("0.006") + event.value * Decimal("0.01")
        assert abs(euros * rate - Decimal(event.metadata["fiat_value"])) <= tolerance


def test_equal_seeds_give_equal_rates_whatever_else_is_asked_for(tmp_path: Path) -> None:
    small = ["--start", "2025-01-01", "--months", "1", "--scale", "0.1"]
    paths = [tmp_path / name for name in ("one.csv", "two.csv", "other.csv")]
    outputs = [
        CliRunner().invoke(sample_command, [*small, *more, "--rates", str(path)], catch_exceptions=False)
        for path, more in zip(
            paths, (["--companies", "1"], ["--companies", "2"], ["--companies", "1", "--seed", "8"]), strict=True
        )
    ]
    one, two, other = (path.read_bytes() for path in paths)
    assert one == two != other
    assert next(csv.DictReader(one.decode().splitlines())) == {
        "rate_date": "2025-01-01",
        "base": "EUR",
        "quote": "USD",
        "rate": "1.0800",
    }
    # With or without rates the events are the same.
    without = CliRunner().invoke(sample_command, [*small, "--companies", "1"])
    assert outputs[0].stdout == without.stdout
    assert json.loads(without.stdout.splitlines()[0])["timestamp"].startswith("2025-01-")


def test_a_bad_span_or_place_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(AnalyticsError, match="first day of a month"):
        write_rates(tmp_path / "r.csv", seed=7, start=date(2025, 1, 2), months=1)
    with pytest.raises(AnalyticsError, match="Cannot write"):
        write_rates(tmp_path / "none" / "r.csv", seed=7, start=START, months=1)
