"""How figures and dates look: one locale, one rounding, true minus signs.

Belongs here: the presentation of amounts, counts, rates, dates; what is rounded is rounded here, once.
Does not belong here: the digits of currencies (``currencies``), computing figures (``figures``), fonts and layout.
"""

from datetime import UTC, date, datetime
from decimal import Decimal, localcontext

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import format_decimal, get_currency_name

from analytics_pipeline.currencies import PRECISION, currency_digits, rounded
from analytics_pipeline.errors import AnalyticsError

DEFAULT_LOCALE = "en_GB"
UNDEFINED = "\u2013"
"""Stands for a figure that has no value, such as a change against nothing."""

CHANGE_DIGITS = 2
"""Decimal places of a rate of change."""

_MINUS = "\u2212"


class Formats:
    """Figures and dates in the notation of one locale."""

    def __init__(self, locale: str = DEFAULT_LOCALE) -> None:
        """Accept a locale such as ``en_GB`` or ``de_CH``; an unknown one is an ``AnalyticsError``."""
        try:
            self._locale = Locale.parse(locale)
        except (UnknownLocaleError, ValueError) as error:
            raise AnalyticsError(
                f"The locale {locale!r} is not known; give one such as {DEFAULT_LOCALE} or de_CH."
            ) from error
        # The locale's own grouping: 12,34,567 in India, 1,234,567 elsewhere.
        self._whole_pattern = self._locale.decimal_formats[None].pattern.partition(".")[0]
        pattern = self._locale.percent_formats[None].pattern.partition(";")[0]
        self._percent_pattern = pattern.replace("0", _pattern("0", CHANGE_DIGITS), 1)

    def number(self, value: Decimal, digits: int) -> str:
        """Return a grouped number with exactly ``digits`` decimal places."""
        return self._signed(value, digits, _pattern(self._whole_pattern, digits))

    def amount(self, value: Decimal, currency: str) -> str:
        """Return a sum of money without its currency, to the currency's digits."""
        return self.number(value, currency_digits(currency))

    def currency_name(self, currency: str) -> str:
        """Return the code with the currency's name where the locale has one: ``EUR \u00b7 Euro``."""
        name = get_currency_name(currency, locale=self._locale)
        return currency if name == currency else f"{currency} \u00b7 {name}"

    def count(self, value: int) -> str:
        """Return a grouped whole number."""
        return self.number(Decimal(value), 0)

    def change(self, percent: Decimal | None) -> str:
        """Return a rate of change with its sign and two decimals, or the sign for "undefined"."""
        if percent is None:
            return UNDEFINED
        sign = "+" if rounded(percent, CHANGE_DIGITS) > 0 else ""
        return sign + self._signed(percent, CHANGE_DIGITS, self._percent_pattern, scale=2)

    def month(self, day: date) -> str:
        """Return month and year in full: ``January 2025``."""
        return format_date(day, "LLLL y", locale=self._locale)

    def short_month(self, day: date) -> str:
        """Return the abbreviated month: ``Jan``."""
        return format_date(day, "LLL", locale=self._locale)

    def day(self, day: date) -> str:
        """Return a date in the locale's medium form: ``31 Jan 2025``."""
        return format_date(day, "medium", locale=self._locale)

    def instant(self, instant: datetime) -> str:
        """Return an aware instant in UTC, to the minute, with its zone: ``31 Jan 2025, 23:59 UTC``."""
        return format_datetime(instant.astimezone(UTC), "d MMM y, HH:mm", locale=self._locale) + " UTC"

    def _signed(self, value: Decimal, digits: int, pattern: str, *, scale: int = 0) -> str:
        """Round, format the magnitude by the pattern and put the sign in front."""
        final = rounded(value, digits)
        with localcontext(prec=PRECISION):
            magnitude = format_decimal(abs(final).scaleb(-scale), format=pattern, locale=self._locale)
        return (_MINUS if final < 0 else "") + magnitude


def _pattern(whole: str, digits: int) -> str:
    """Return a CLDR number pattern with a fixed number of decimal places."""
    return f"{whole}.{'0' * digits}" if digits else whole
