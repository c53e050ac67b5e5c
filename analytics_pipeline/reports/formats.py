"""Cells of tables, and texts that hold figures, in the notation and the words of a document."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache

from analytics_pipeline.languages.notation import UNDEFINED, Notation
from analytics_pipeline.reports.tabular import Kind, Value


class Formats(Notation):
    """The notation and the words of a document, of whose tables it writes the cells."""

    def say(self, text: str) -> str:
        """Return a message in the words of the language, figures in it as the locale writes them.

        A text that is no message stays as it is.
        """
        return text.write(self) if isinstance(text, InWords) else super().say(text)

    def cell(self, value: Value, kind: Kind) -> str:
        """Return a cell of a table: a number with the digits it carries, the sign for "undefined" without a value."""
        match value:
            case Decimal() | int():
                return self._figure(value, kind)
            case str():
                return self.say(value)
            case date():
                return self._time(value, kind)
            case _:
                return UNDEFINED

    def _time(self, value: date, kind: Kind) -> str:
        if isinstance(value, datetime):
            return self.instant(value)
        return self.month(value) if kind is Kind.MONTH else self.day(value)

    def _figure(self, value: Decimal | int, kind: Kind) -> str:
        if kind is Kind.CHANGE:
            return self.change(Decimal(value))
        if kind is Kind.PERCENT:
            return self.percent(Decimal(value))
        return self.exact(value)


@lru_cache(maxsize=16)
def formats_of(locale: str) -> Formats:
    """Return the formats of a locale, made once; raises as they do."""
    return Formats(locale)


class InWords(str):
    """A text that holds figures: as such it is in English, with figures as the default locale writes them.

    ``write`` gives it as others do.
    """

    write: Callable[[Formats], str]

    def __new__(cls, write: Callable[[Formats], str]) -> "InWords":
        """Make the English text of what writes it."""
        made = super().__new__(cls, write(Formats()))
        made.write = write
        return made
