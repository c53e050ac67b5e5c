"""How messages write figures, dates and words: as documents do, and in English as programs read them, too.

English messages have dates of ISO 8601, as in the JSON of webhooks and in the names of partitions, and signs of ASCII.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from analytics_pipeline.currencies import RATE_DIGITS
from analytics_pipeline.errors import UnknownNameError
from analytics_pipeline.languages.notation import Notation, written_locale
from analytics_pipeline.locales import DEFAULT_LOCALE


class MessageNotation(Notation):
    """The notation and the words of messages in a locale."""

    def __init__(self, locale: str) -> None:
        """Take a locale as ``Notation`` does."""
        super().__init__(locale)
        if self.is_english:
            self.minus = "-"

    def percent(self, rate: Decimal, digits: int = RATE_DIGITS) -> str:
        """Return a rate in per cent with one decimal, or as many as are asked for."""
        return f"{self.number(rate, digits)} %" if self.is_english else super().percent(rate, digits)

    def count(self, number: int) -> str:
        """Return a whole number."""
        return str(number) if self.is_english else self.number(Decimal(number), 0)

    def moment(self, instant: datetime) -> str:
        """Return an aware instant in UTC, to the second, with its zone."""
        utc = instant.astimezone(UTC)
        return (
            f"{utc:%Y-%m-%d} {utc:%H:%M:%S} UTC" if self.is_english else f"{self.day(utc.date())}, {utc:%H:%M:%S} UTC"
        )


@lru_cache(maxsize=16)
def notation_of(locale: str) -> MessageNotation:
    """Return how messages to readers of a locale are written.

    Those of one that writes in characters which documents don't, such as ``ja_JP``, read what those of the default one
    do, and so do those of one that nobody knows, as a row written by hand may have it: no message waits for that.
    """
    try:
        return MessageNotation(written_locale(locale))
    except UnknownNameError:
        return MessageNotation(DEFAULT_LOCALE)
