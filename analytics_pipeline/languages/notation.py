"""How figures, dates and words are written: one locale, true minus signs."""

import re
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from functools import cache, lru_cache
from threading import Lock

from babel import Locale, UnknownLocaleError, localedata
from babel.dates import format_date, format_datetime
from babel.numbers import NumberPattern, get_decimal_symbol, get_group_symbol, parse_pattern

from analytics_pipeline.currencies import EXACT, RATE_DIGITS, round_rate, rounded
from analytics_pipeline.errors import ArgumentError, UnknownNameError
from analytics_pipeline.languages.catalogues import SOURCE, language_of
from analytics_pipeline.locales import DEFAULT_LOCALE, require_locale

UNDEFINED = "\u2013"
"""Stands for a figure that has no value, such as a change against nothing."""

MINUS = "\u2212"
_SHORT_MONTH, _DAY = "LLL", "medium"
# Month and year as a language writes them. Of many CLDR does not know how: that is a pattern of no language.
_MONTH, _UNKNOWN_MONTH, _USUAL_MONTH = "yMMMM", "y MMMM", "LLLL y"
# Latin, Greek and Cyrillic with what stands between them: of the letters that the fonts of documents hold.
_is_shown = re.compile("[\u0020-\u052f\u1d00-\u206f]*").fullmatch
_loading = Lock()


class Notation:
    """Figures and dates in the notation of one locale, words in its language, or in English.

    ``language`` is the language of the words, ``minus`` what stands before a negative figure. ``is_english``: the
    locale is an English one, and not one that gets English words for want of its own.
    """

    minus: str = MINUS

    def __init__(self, locale: str = DEFAULT_LOCALE) -> None:
        """Accept a locale such as ``en_GB`` or ``de_CH``.

        Raises ``AnalyticsError`` for an unknown one, and ``UnwrittenLocaleError`` for one that writes in characters
        which documents don't.
        """
        self._locale = _loaded(locale)
        self.language = language_of(self._locale.language)
        self.is_english = self._locale.language == SOURCE
        self._month = _month_pattern(self._locale)
        # The locale's own grouping: 12,34,567 in India, 1,234,567 elsewhere.
        self._whole_pattern = self._locale.decimal_formats[None].pattern.partition(".")[0]
        self._point = get_decimal_symbol(self._locale)
        self._signs = str.maketrans({",": get_group_symbol(self._locale), ".": self._point})
        # What stands before and after a number of a pattern: the sign of per cent.
        self._frames: dict[str, tuple[str, str] | None] = {}
        pattern = self._locale.percent_formats[None].pattern.partition(";")[0]
        self._percent_pattern = pattern

    def say(self, text: str) -> str:
        """Return a message in the words of the language; a text that is no message stays as it is."""
        return self.language.say(text)

    def number(self, value: Decimal, digits: int) -> str:
        """Return a grouped number with exactly ``digits`` decimal places."""
        return self._signed(value, digits, _pattern(self._whole_pattern, digits))

    def exact(self, value: Decimal | int) -> str:
        """Return a grouped number with the decimal places it carries: nothing is to be rounded."""
        frame = self._frame(self._whole_pattern, 0)
        if frame is None:
            carrying = Decimal(value)
            return self.number(carrying, max(-int(carrying.as_tuple().exponent), 0))
        written = f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"
        sign = self.minus if value < 0 else ""
        return sign + frame[0] + written.removeprefix("-").translate(self._signs) + frame[1]

    def percent(self, rate: Decimal, digits: int = RATE_DIGITS) -> str:
        """Return a rate in per cent with one decimal, or as many as are asked for."""
        return self._signed(rate, digits, self._percent_pattern.replace("0", _pattern("0", digits), 1), scale=2)

    def change(self, percent: Decimal | None) -> str:
        """Return a rate of change with its sign and one decimal, or the sign for "undefined"."""
        if percent is None:
            return UNDEFINED
        sign = "+" if round_rate(percent) > 0 else ""
        return sign + self.percent(percent)

    def month(self, day: date) -> str:
        """Return month and year in full: ``January 2025``, ``enero de 2025``."""
        return _date(day, self._month, self._locale)

    def short_month(self, day: date) -> str:
        """Return the abbreviated month: ``Jan``."""
        return _date(day, _SHORT_MONTH, self._locale)

    def day(self, day: date) -> str:
        """Return a date in the locale's medium form: ``31 Jan 2025``."""
        return _date(day, _DAY, self._locale)

    def instant(self, instant: datetime) -> str:
        """Return an aware instant in UTC, to the minute, with its zone: ``31 Jan 2025, 23:59 UTC``."""
        utc = instant.astimezone(UTC)
        return f"{self.day(utc.date())}, {utc:%H:%M} UTC"

    def _signed(self, value: Decimal, digits: int, pattern: str, *, scale: int = 0) -> str:
        """Round, format the magnitude by the pattern and put the sign in front."""
        final = rounded(value, digits)
        magnitude = self._magnitude(final.copy_abs(), digits, pattern, scale)
        return (self.minus if final < 0 else "") + magnitude

    def _magnitude(self, value: Decimal, digits: int, pattern: str, scale: int) -> str:
        """Format as Babel does; groups of three, the usual ones, are made here and get their signs from Babel once."""
        frame = self._frame(pattern, digits)
        if frame is None:
            with localcontext(EXACT):
                return str(_parsed(pattern).apply(value.scaleb(-scale), self._locale))
        return frame[0] + f"{value:,.{digits}f}".translate(self._signs) + frame[1]

    def _frame(self, pattern: str, digits: int) -> tuple[str, str] | None:
        """Return what stands before and after a number of a pattern, None where digits are not grouped in threes."""
        if pattern not in self._frames:
            self._frames[pattern] = None
            if _parsed(pattern).grouping == (3, 3):
                zero = f"0{self._point}{'0' * digits}" if digits else "0"
                before, _, after = _parsed(pattern).apply(Decimal(0), self._locale).partition(zero)
                self._frames[pattern] = (before, after)
        return self._frames[pattern]


class UnwrittenLocaleError(ArgumentError):
    """A locale that writes in characters which documents don't."""


def require_written_locale(name: str) -> str:
    """Return a locale in its usual spelling, in which documents and messages are written.

    Raises ``AnalyticsError`` as ``Notation`` does.
    """
    spelled = require_locale(name)
    _loaded(spelled)
    return spelled


def written_locale(name: str) -> str:
    """Return the locale that documents for readers of a locale are written in: itself, or the default one.

    That of a locale that writes in characters which documents don't, such as ``ja_JP``. Raises ``AnalyticsError`` for
    an unknown one.
    """
    try:
        _loaded(name)
    except UnwrittenLocaleError:
        return DEFAULT_LOCALE
    return name


@lru_cache(maxsize=16)
def _loaded(name: str) -> Locale:
    """Return a locale whose data no other locale shares.

    Babel writes what it has looked up into data that locales have in common: after de_DE, January is not Jänner in
    de_AT any more, and what a document says would depend on those made before it. So each is loaded afresh.
    """
    with _loading:
        localedata._cache.clear()
        try:
            locale = Locale.parse(name)
        except (UnknownLocaleError, ValueError) as error:
            raise UnknownNameError(
                f"The locale {name!r} is not known; give one such as {DEFAULT_LOCALE} or de_CH."
            ) from error
        months = [datetime(2000, month, 1, tzinfo=UTC) for month in range(1, 13)]
        patterns = (_month_pattern(locale), _SHORT_MONTH, _DAY)
        written = [format_datetime(month, pattern, locale=locale) for month in months for pattern in patterns]
        written += [get_decimal_symbol(locale), get_group_symbol(locale)]
    if not _is_shown("".join(written)):
        raise UnwrittenLocaleError(
            f"The locale {name!r} writes in characters that documents can't show: choose one that writes in Latin, "
            f"Greek or Cyrillic, such as {DEFAULT_LOCALE}."
        )
    return locale


def _month_pattern(locale: Locale) -> str:
    pattern = str(locale.datetime_skeletons[_MONTH].pattern)
    return _USUAL_MONTH if pattern == _UNKNOWN_MONTH else pattern


@lru_cache(maxsize=1_000)
def _date(day: date, pattern: str, locale: Locale) -> str:
    """Return a date in a notation; documents name the same ones again and again."""
    return format_date(day, pattern, locale=locale)


@cache
def _parsed(pattern: str) -> NumberPattern:
    return parse_pattern(pattern)


def _pattern(whole: str, digits: int) -> str:
    """Return a CLDR number pattern with a fixed number of decimal places."""
    return f"{whole}.{'0' * digits}" if digits else whole
