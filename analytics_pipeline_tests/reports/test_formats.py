"""Figures are rounded once, half-even, and shown in the locale's notation with true minus signs."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from analytics_pipeline.currencies import currency_digits
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.formats import Formats

MINUS = "\u2212"


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        ("EUR", 2),
        ("JPY", 0),
        ("KWD", 3),
        ("CLF", 4),
        ("RSD", 2),
        ("IQD", 3),
        ("BTC", 8),
        ("ETH", 8),
        ("USDT", 8),
    ],
)
def test_digits_are_those_of_iso_4217_and_eight_for_tickers(currency: str, digits: int) -> None:
    assert currency_digits(currency) == digits


@pytest.mark.parametrize(
    ("value", "currency", "shown"),
    [
        ("15000", "EUR", "15,000.00"),
        ("-150", "EUR", f"{MINUS}150.00"),
        ("0.125", "EUR", "0.12"),
        ("0.135", "EUR", "0.14"),
        ("-0.004", "EUR", "0.00"),
        ("0.5", "JPY", "0"),
        ("1.5", "JPY", "2"),
        ("0.00012345", "BTC", "0.00012345"),
        ("0.000000015", "BTC", "0.00000002"),
        ("1E+3", "EUR", "1,000.00"),
        (
            "123456789012345678901234567890.123456785",
            "BTC",
            "123,456,789,012,345,678,901,234,567,890.12345678",
        ),
        ("0", "EUR", "0.00"),
    ],
)
def test_amounts(value: str, currency: str, shown: str) -> None:
    assert Formats().amount(Decimal(value), currency) == shown


def test_a_third_three_times_is_one() -> None:
    assert Formats().amount(sum([Decimal(1) / 3] * 3, Decimal(0)), "EUR") == "1.00"


@pytest.mark.parametrize(
    ("percent", "shown"),
    [
        ("15.5", "+15.50%"),
        ("-137.5", f"{MINUS}137.50%"),
        ("0.004", "0.00%"),
        ("-0.004", "0.00%"),
        ("123456.785", "+123,456.78%"),
    ],
)
def test_changes_carry_their_sign_and_two_decimals(percent: str, shown: str) -> None:
    assert Formats().change(Decimal(percent)) == shown


def test_an_undefined_change_is_an_en_dash() -> None:
    assert Formats().change(None) == "\u2013"


@pytest.mark.parametrize(
    ("locale", "amount", "change"),
    [
        ("en_GB", f"{MINUS}1,234,567.89", "+15.50%"),
        ("de_DE", f"{MINUS}1.234.567,89", "+15,50\u00a0%"),
        ("de_CH", f"{MINUS}1\u2019234\u2019567.89", "+15.50%"),
        ("fr_FR", f"{MINUS}1\u202f234\u202f567,89", "+15,50\u00a0%"),
        ("sv_SE", f"{MINUS}1\u00a0234\u00a0567,89", "+15,50\u00a0%"),
        ("en_IN", f"{MINUS}12,34,567.89", "+15.50%"),
        ("ar_EG", f"{MINUS}1,234,567.89", "+15.50%"),
    ],
)
def test_locales(locale: str, amount: str, change: str) -> None:
    formats = Formats(locale)

    assert formats.number(Decimal("-1234567.89"), 2) == amount
    assert formats.change(Decimal("15.5")) == change


def test_dates_and_instants() -> None:
    formats = Formats()
    instant = datetime(2026, 2, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))

    assert formats.month(date(2026, 1, 1)) == "January 2026"
    assert formats.short_month(date(2026, 1, 1)) == "Jan"
    assert formats.day(date(2026, 1, 31)) == "31 Jan 2026"
    assert formats.instant(instant) == "31 Jan 2026, 23:30 UTC"
    assert formats.instant(datetime(2026, 1, 31, 23, 30, tzinfo=UTC)) == formats.instant(instant)


@pytest.mark.parametrize("locale", ["xx_YY", "", "not a locale", "../etc"])
def test_an_unknown_locale_is_refused(locale: str) -> None:
    with pytest.raises(AnalyticsError, match="locale"):
        Formats(locale)
