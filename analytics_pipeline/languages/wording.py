"""Texts in English that can be said in another language.

A message is a ``str``, and as such its English: whoever knows of no languages prints, compares and stores that. What is
put into it stays apart, so that another language can place it elsewhere.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Final

MARKS: Final[Mapping[str, tuple[int, ...] | None]] = {"message": None, "plural": (1, 2)}
"""The functions that mark texts, and which of their arguments are texts; None: the first. For whoever collects them."""


class Message(str):
    """A text in English with what it is made of.

    ``text`` is its form with ``{names}``, as the catalogues have it; ``values`` are put there, messages among them in
    the same language. Of a text with two forms ``other`` is the one for several, and ``number`` chooses: a whole one,
    or a ``Decimal`` with the decimals that are shown.
    """

    text: str
    values: Mapping[str, object]
    other: str | None
    number: int | Decimal

    def __new__(
        cls, text: str, values: Mapping[str, object], other: str | None = None, number: int | Decimal = 1
    ) -> "Message":
        """Make the English text; raises ``KeyError`` if a value is missing."""
        made = super().__new__(cls, filled(text if other is None or number == 1 else other, values))
        made.text, made.values, made.other, made.number = text, values, other, number
        return made

    @property
    def form(self) -> str:
        """The form that counts in English, still with its ``{names}``."""
        return self.text if self.other is None or self.number == 1 else self.other

    def __reduce__(self) -> tuple[type["Message"], tuple[str, Mapping[str, object], str | None, int | Decimal]]:
        """Stay what it is in another process."""
        return (Message, (self.text, self.values, self.other, self.number))


def message(text: str, /, **values: object) -> Message:
    """Return a text that can be said in other languages; ``{names}`` in it are filled with the values.

    The text is a literal: it is collected from the code.
    """
    return Message(text, values)


def plural(one: str, other: str, number: int | Decimal, /, **values: object) -> Message:
    """Return one of two texts, ``one`` for the number 1, that can be said in other languages.

    ``{number}`` in them is the number unless it is among the values, formatted. A ``Decimal`` has the decimals that are
    shown: languages differ in what they say of 1.0. Both texts are literals.
    """
    return Message(one, {"number": number, **values}, other, number)


def recognised(text: str, forms: tuple[Message, ...]) -> str:
    """Return a text that was kept in English as the message it is: the first of these whose form it has.

    In English it is the very same. A text of another form stays as it is.
    """
    for form, matches in _patterns(forms):
        if found := matches(text):
            return Message(form.text, found.groupdict())
    return text


@cache
def _patterns(forms: tuple[Message, ...]) -> list[tuple[Message, Callable[[str], re.Match[str] | None]]]:
    return [(form, re.compile(_pattern(form.text)).fullmatch) for form in forms]


def _pattern(text: str) -> str:
    """Return the pattern of texts of a form: a name in it stands for anything, and for the same wherever it recurs."""
    seen: set[str] = set()

    def group(name: re.Match[str]) -> str:
        is_known = name[1] in seen
        seen.add(name[1])
        return f"(?P={name[1]})" if is_known else f"(?P<{name[1]}>.+)"

    return re.sub(r"\\{(\w+)\\}", group, re.escape(text))


def filled(text: str, values: Mapping[str, object]) -> str:
    """Return a text with its ``{names}`` filled; one without values stays as it is."""
    return text.format(**values) if values else text
