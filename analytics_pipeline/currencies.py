"""Currencies and their digits, and how figures are rounded to be shown: here, and nowhere else in Python.

``sql/functions/rounding.sql`` does the same in SQL, for people's own queries.
"""

import re
from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from analytics_pipeline.errors import AnalyticsError

TICKER_DIGITS = 8
_USUAL_DIGITS = 2
# Babel isn't asked for the digits: its data follow local usage (no decimals for RSD, LAK, ...).
_OTHER_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_is_currency = re.compile(r"[A-Z][A-Z0-9]{1,9}").fullmatch
_DIGITS = {code: digits for digits, codes in _OTHER_DIGITS.items() for code in codes.split()}
# Wide enough for every amount that numeric holds here; Decimal's default of 28 digits is not.
PRECISION = 400
# Amounts have at most 18 decimals. What stands beyond the 30th is the residue of a division in SQL, which
# keeps 40: three thirds are one again here.
CERTAIN_PLACES = 30
RATE_DIGITS = 1
"""Decimal places of a rate in per cent, wherever one is shown."""


def currency_digits(currency: str) -> int:
    """Return the decimal places of a currency: those of ISO 4217, and 8 for any other ticker."""
    # Babel loads its data at the first call: not at import.
    from babel.numbers import is_currency

    return _DIGITS.get(currency, _USUAL_DIGITS if is_currency(currency) else TICKER_DIGITS)


def known_currency_digits() -> dict[str, int]:
    """Return the decimal places of every currency that isn't taken for a ticker, by its code."""
    from babel.numbers import list_currencies

    return {code: currency_digits(code) for code in sorted(list_currencies() | _DIGITS.keys())}


def rounded(value: Decimal, digits: int) -> Decimal:
    """Return the value rounded half-even to ``digits`` decimal places; never a negative zero."""
    with localcontext(prec=PRECISION):
        exact = value.quantize(Decimal(1).scaleb(-CERTAIN_PLACES), rounding=ROUND_HALF_EVEN)
        return exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN) + 0


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Return an exact amount rounded once, half-even, to the currency's digits."""
    return rounded(amount, currency_digits(currency))


def round_rate(rate: Decimal) -> Decimal:
    """Return an exact rate in per cent rounded once, half-even, to one decimal place."""
    return rounded(rate, RATE_DIGITS)


def missing_by(parts: Iterable[Decimal], whole: Decimal) -> Decimal:
    """Return what shown parts miss the shown whole by: what the line ``rounding`` holds, 0 as a rule."""
    with localcontext(prec=PRECISION):
        return whole - sum(parts, Decimal(0))


def require_currency(code: str) -> str:
    """Return a currency code or ticker as it is; raises ``AnalyticsError`` for anything else."""
    if not _is_currency(code):
        raise AnalyticsError(
            f"{code!r} is neither a currency like EUR nor a ticker like BTC: 2 to 10 capital letters or digits."
        )
    return code
