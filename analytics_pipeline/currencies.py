"""Currencies and crypto assets, their digits, and how figures are rounded to be shown: nowhere else in Python.

What an amount is in has one code. Of a currency that is its code of ISO 4217, today's or a former one, of a crypto
asset its ticker: ``BTC``, ``1INCH``, ``T``, ``USDC.e``, ``cbBTC``. A coin whose ticker is a currency's code too has a
code of its own, ``crypto:MNT``, in events, aggregates and rates, so that it is never valued as that currency.

``sql/currency_digits.sql`` makes SQL functions of the same lists, ``sql/functions/rounding.sql`` rounds in the same
way, for people's own queries.
"""

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import lru_cache
from typing import Final

from analytics_pipeline.errors import ArgumentError

TICKER_DIGITS = 8
_USUAL_DIGITS = 2
# Babel isn't asked for the digits: its data follow local usage (no decimals for RSD, LAK, ...).
_OTHER_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
TICKER_FORM: Final = r"(?=.{1,20}$)([A-Z0-9]*[A-Z][A-Z0-9]*|(?=.*[A-Z]{2})[A-Za-z0-9]+([._-][A-Za-z0-9]+)*)"
"""A ticker, as Python and PostgreSQL read it: where small letters or signs occur, two capitals in a row, too."""
CRYPTO_PREFIX: Final = "crypto:"
ASSET_FORM: Final = (
    "neither a currency like EUR nor a ticker like BTC, 1INCH or USDC.e: at most 20 letters and digits, capitals where "
    "they belong"
)
_is_ticker = re.compile(TICKER_FORM).fullmatch
_DIGITS = {code: digits for digits, codes in _OTHER_DIGITS.items() for code in codes.split()}
# Wide enough for every amount that numeric holds here; Decimal's default of 28 digits is not.
PRECISION = 400
EXACT: Final = Context(prec=PRECISION)
"""What single operations are given; entering ``localcontext`` costs more than most of them."""
# Amounts have at most 18 decimals. What stands beyond the 30th is the residue of a division in SQL, which
# keeps 40: three thirds are one again here.
CERTAIN_PLACES = 30
RATE_DIGITS = 1
"""Decimal places of a rate in per cent, wherever one is shown."""
RATIO_DIGITS = 2
"""Decimal places of a ratio that is no per cent."""


@lru_cache(maxsize=1)
def currencies() -> dict[str, int]:
    """Return the decimal places of every currency of ISO 4217, former ones included, by its code."""
    # Babel loads its data at the first call: not at import.
    from babel.numbers import list_currencies

    return {code: _DIGITS.get(code, _USUAL_DIGITS) for code in sorted(list_currencies() | _DIGITS.keys())}


def is_currency(code: str) -> bool:
    """Return whether a code is that of a currency, and not of a crypto asset."""
    return code in currencies()


def currency_digits(code: str) -> int:
    """Return the decimal places of a currency, those of ISO 4217, or of a crypto asset: 8."""
    return currencies().get(code, TICKER_DIGITS)


def crypto_code(ticker: str) -> str:
    """Return the code of the crypto asset with a ticker: one of its own where a currency has that code."""
    return f"{CRYPTO_PREFIX}{ticker}" if is_currency(ticker) else ticker


@lru_cache(maxsize=4096)
def is_asset(code: str) -> bool:
    """Return whether a text is the code of a currency or of a crypto asset, and not another spelling of one."""
    if code.startswith(CRYPTO_PREFIX):
        return is_currency(code.removeprefix(CRYPTO_PREFIX))
    # "eUR" is a slip, and no ticker.
    return _is_ticker(code) is not None and (code.isupper() or not is_currency(code.upper()))


def rounded(value: Decimal, digits: int) -> Decimal:
    """Return the value rounded half-even to ``digits`` decimal places; never a negative zero."""
    exact = value.quantize(_unit(CERTAIN_PLACES), ROUND_HALF_EVEN, EXACT)
    return EXACT.add(exact.quantize(_unit(digits), ROUND_HALF_EVEN, EXACT), 0)


@lru_cache(maxsize=64)
def _unit(digits: int) -> Decimal:
    return Decimal(1).scaleb(-digits)


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Return an exact amount rounded once, half-even, to the currency's digits."""
    return rounded(amount, currency_digits(currency))


def compared_money(amount: Decimal, currency: str) -> str:
    """Return an exact amount as it is shown beside another one: in the digits of its currency, or all it has if more.

    Rounded, two amounts that differ could look alike.
    """
    shown = round_money(amount, currency)
    return f"{shown if shown == amount else amount:f}"


def round_rate(rate: Decimal) -> Decimal:
    """Return an exact rate in per cent rounded once, half-even, to one decimal place."""
    return rounded(rate, RATE_DIGITS)


def round_ratio(ratio: Decimal) -> Decimal:
    """Return an exact ratio rounded once, half-even, to two decimal places."""
    return rounded(ratio, RATIO_DIGITS)


def money(amount: Decimal | None, currency: str) -> Decimal | None:
    """Return an exact amount as it is shown, in its currency's digits; None where it is not known."""
    return None if amount is None else round_money(amount, currency)


def percent(rate: Decimal | None) -> Decimal | None:
    """Return an exact rate in per cent as it is shown; None where it is not known."""
    return None if rate is None else round_rate(rate)


def ratio(value: Decimal | None) -> Decimal | None:
    """Return an exact ratio that is no per cent as it is shown; None where it is not known."""
    return None if value is None else round_ratio(value)


def missing_by(parts: Iterable[Decimal], whole: Decimal) -> Decimal:
    """Return what shown parts miss the shown whole by: what the line ``rounding`` holds, 0 as a rule."""
    with localcontext(prec=PRECISION):
        return whole - sum(parts, Decimal(0))


def require_currency(code: str) -> str:
    """Return the code of a currency or crypto asset as it is; raises ``AnalyticsError`` for anything else."""
    if not is_asset(code):
        raise ArgumentError(f"{code!r} is {ASSET_FORM}.")
    return code
