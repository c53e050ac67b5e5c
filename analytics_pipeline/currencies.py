"""Currencies and their digits: ISO 4217 for money, 8 for crypto tickers."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

_TICKER_DIGITS = 8
_USUAL_DIGITS = 2
# Babel isn't asked for the digits: its data follow local usage (no decimals for RSD, LAK, ...).
_OTHER_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS = {code: digits for digits, codes in _OTHER_DIGITS.items() for code in codes.split()}
# Wide enough for every amount that numeric holds here; Decimal's default of 28 digits is not.
PRECISION = 400


def currency_digits(currency: str) -> int:
    """Return the decimal places of a currency: those of ISO 4217, and 8 for any other ticker."""
    # Babel loads its data at the first call: not at import.
    from babel.numbers import is_currency

    return _DIGITS.get(currency, _USUAL_DIGITS if is_currency(currency) else _TICKER_DIGITS)


def rounded(value: Decimal, digits: int) -> Decimal:
    """Return the value rounded half-even to ``digits`` decimal places; never a negative zero."""
    with localcontext(prec=PRECISION):
        return value.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN) + 0


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Return an exact amount rounded once, half-even, to the currency's digits."""
    return rounded(amount, currency_digits(currency))
