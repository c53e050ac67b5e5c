"""Prices of crypto assets and of the euro in dollars: one random walk per seed, for every company.

The walk is made of sums and products alone, so that it is the same on every platform.
"""

from random import Random

from analytics_pipeline.sample.stream import decimal_text

ASSETS = ("BTC", "ETH")
ASSET_PLACES = 8
FIAT_PLACES = 2
# The smallest units of an asset that make one coin.
COIN = 100_000_000

# Euro cents of one coin.
_FIRST_PRICES = {"BTC": 6_000_000, "ETH": 260_000}
# Dollars are counted in ten-thousandths.
_RATE_PLACES = 4
_RATE_UNIT = 10**_RATE_PLACES
_FIRST_DOLLARS_PER_EURO = 10_800
_VOLATILITY = {"BTC": 0.04, "ETH": 0.05, "USD": 0.006}
_PULL_HOME = 0.004
_LOWEST_SHARE = 0.1


class Market:
    """The day's prices; ``next_day`` moves them."""

    def __init__(self, rng: Random) -> None:
        """Begin at the prices of the first day."""
        self._rng = rng
        self._euro_prices = dict(_FIRST_PRICES)
        self._dollars_per_euro = _FIRST_DOLLARS_PER_EURO

    def next_day(self) -> None:
        """Move every price by a few per cent, and a little towards where it began."""
        for asset, first in _FIRST_PRICES.items():
            self._euro_prices[asset] = self._moved(self._euro_prices[asset], first, _VOLATILITY[asset])
        self._dollars_per_euro = self._moved(self._dollars_per_euro, _FIRST_DOLLARS_PER_EURO, _VOLATILITY["USD"])

    def price(self, asset: str, fiat: str) -> int:
        """Return the cents of ``fiat`` (EUR or USD) that one coin costs today."""
        euros = self._euro_prices[asset]
        return euros if fiat == "EUR" else euros * self._dollars_per_euro // _RATE_UNIT

    def rates(self) -> list[tuple[str, str, str]]:
        """Return the day's prices as rates of exchange: base, quote, what one unit of base costs, exactly."""
        dollars = ("EUR", "USD", decimal_text(self._dollars_per_euro, _RATE_PLACES))
        return [dollars, *((asset, "EUR", decimal_text(p, FIAT_PLACES)) for asset, p in self._euro_prices.items())]

    def _moved(self, value: int, first: int, volatility: float) -> int:
        random = self._rng.random
        shock = random() + random() + random() + random() - 2
        moved = value + value * volatility * shock + (first - value) * _PULL_HOME
        return max(round(moved), round(first * _LOWEST_SHARE))


def quantity_worth(cents: int, price: int) -> int:
    """Return how many hundred-millionths of a coin ``cents`` buy, rounded down."""
    return cents * COIN // price


def cents_worth(quantity: int, price: int) -> int:
    """Return the cents that ``quantity`` hundred-millionths are worth, rounded half-even."""
    cents, rest = divmod(quantity * price, COIN)
    return cents + int(2 * rest > COIN or (2 * rest == COIN and cents % 2 == 1))
