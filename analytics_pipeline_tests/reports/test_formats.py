"""Figures are rounded once, half-even, and shown in the locale's notation with true minus signs."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from babel.localedata import locale_identifiers

from analytics_pipeline.currencies import currency_digits, round_money
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.fonts import Fonts
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.printed_text import TextSanitizer
from analytics_pipeline.reports.tabular import Kind, Value, share

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
    assert Formats().cell(round_money(Decimal(value), currency), Kind.NUMBER) == shown


def test_a_third_three_times_is_one() -> None:
    assert Formats().number(sum([Decimal(1) / 3] * 3, Decimal(0)), 2) == "1.00"


@pytest.mark.parametrize(
    ("percent", "shown"),
    [
        ("15.5", "+15.5%"),
        ("-137.5", f"{MINUS}137.5%"),
        ("0.04", "0.0%"),
        ("-0.04", "0.0%"),
        ("123456.25", "+123,456.2%"),
    ],
)
def test_changes_carry_their_sign_and_one_decimal(percent: str, shown: str) -> None:
    assert Formats().change(Decimal(percent)) == shown


def test_an_undefined_change_is_an_en_dash() -> None:
    assert Formats().change(None) == "\u2013"


@pytest.mark.parametrize(
    ("locale", "amount", "change"),
    [
        ("en_GB", f"{MINUS}1,234,567.89", "+15.5%"),
        ("de_DE", f"{MINUS}1.234.567,89", "+15,5\u00a0%"),
        ("de_CH", f"{MINUS}1\u2019234\u2019567.89", "+15.5%"),
        ("fr_FR", f"{MINUS}1\u202f234\u202f567,89", "+15,5\u00a0%"),
        ("sv_SE", f"{MINUS}1\u00a0234\u00a0567,89", "+15,5\u00a0%"),
        ("en_IN", f"{MINUS}12,34,567.89", "+15.5%"),
    ],
)
@pytest.mark.slow
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


@pytest.mark.parametrize("locale", ["ar_EG", "fa", "ja_JP", "zh", "hi", "th", "he", "bn", "cu", "jgo"])
def test_a_locale_whose_letters_no_document_can_show_is_refused(locale: str) -> None:
    with pytest.raises(AnalyticsError, match=rf"{locale}.*choose one that writes in Latin, Greek or Cyrillic"):
        Formats(locale)


@pytest.mark.slow
def test_documents_can_show_all_that_an_accepted_locale_writes(fonts: Fonts) -> None:
    proof = TextSanitizer(fonts.coverage)
    accepted: set[str] = set()
    # Without those of a territory: they are written like their language, and hundreds.
    for locale in (name for name in locale_identifiers() if "_" not in name):
        try:
            formats = Formats(locale)
        except AnalyticsError:
            continue
        accepted.add(locale)
        cells: list[tuple[Value, Kind]] = [
            (Decimal("-1234567.89"), Kind.NUMBER),
            (Decimal("1234.50"), Kind.CHANGE),
            *((datetime(2026, month, 28, 1, 30, tzinfo=UTC), Kind.INSTANT) for month in range(1, 13)),
            *((date(2026, month, 28), kind) for month in range(1, 13) for kind in (Kind.DAY, Kind.MONTH)),
        ]
        for value, kind in cells:
            proof.printable(formats.cell(value, kind))

    assert proof.altered == ()
    assert {"bg", "cs", "de", "el", "en", "es", "fr", "it", "nl", "pl", "pt", "ru", "sv", "tr", "uk", "vi"} <= accepted


def test_a_locale_writes_the_same_whichever_were_used_before() -> None:
    def january(locale: str) -> str:
        return Formats(locale).month(date(2026, 1, 1))

    assert january("de_DE") == "Januar 2026"
    assert january("de_AT") == "J\u00e4nner 2026"
    assert january("de_CH") == "Januar 2026"
    with pytest.raises(AnalyticsError):
        january("ja_JP")
    assert january("rw") == "Mutarama 2026"
    assert january("fr_FR") == "janvier 2026"
    assert january("it_IT") == "gennaio 2026"


def test_month_and_year_are_joined_as_the_language_does() -> None:
    written = {
        "es_ES": "febrero de 2026",
        "es_MX": "febrero de 2026",
        "pt_BR": "fevereiro de 2026",
        "ca_ES": "febrer del 2026",
        "hu_HU": "2026. febru\u00e1r",
        "de_DE": "Februar 2026",
        "de_AT": "Februar 2026",
        "en_US": "February 2026",
        "it_IT": "febbraio 2026",
        # Nobody has said how these do.
        "gv": "Toshiaght-arree 2026",
    }
    assert {locale: Formats(locale).month(date(2026, 2, 1)) for locale in written} == written


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [("1", "3", "33.3"), ("-1", "3", "-33.3"), ("5", "4", "125.0"), ("1", "0", None), ("1", "-3", None)],
)
def test_a_share_is_of_a_whole_above_zero(part: str, whole: str, percent: str | None) -> None:
    assert share(Decimal(part), Decimal(whole)) == (None if percent is None else Decimal(percent))


def test_no_part_has_no_share() -> None:
    assert share(None, Decimal(1)) is None
