"""The catalogues: what messages are in the languages there are, chosen by a locale.

They are read as they were written, by Babel: there is nothing to compile, neither in a checkout nor in a wheel.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from gettext import c2py
from pathlib import Path
from typing import TYPE_CHECKING, Final

from analytics_pipeline.languages.wording import Message, filled

if TYPE_CHECKING:
    from babel.messages import Catalog
    from babel.plural import PluralRule

FOLDER: Final = Path(__file__).parent
_MAX_ALIKE: Final = 100
SOURCE: Final = "en"
"""The language that messages are written in; it needs no catalogue."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """A language that messages are said in.

    ``code`` is that of its catalogue (``de``), ``texts`` are by their English: one, or several of which ``form``
    chooses by a number, a ``Decimal`` with the decimals that are shown.
    """

    code: str
    texts: Mapping[str, Sequence[str]]
    form: Callable[[int | Decimal], int]

    def say(self, text: str) -> str:
        """Return a message in this language, in English where the catalogue lacks it; any other text as it is."""
        if not isinstance(text, Message):
            return text
        values = {name: self.say(value) if isinstance(value, Message) else value for name, value in text.values.items()}
        if text.text not in self.texts:
            return filled(text.form, values)
        forms = self.texts[text.text]
        return filled(forms[0] if text.other is None else forms[self.form(text.number)], values)


ENGLISH: Final = Language(SOURCE, {}, lambda _: 0)


def languages() -> tuple[str, ...]:
    """Return the codes of the languages there are, English first."""
    return (SOURCE, *sorted(file.stem for file in FOLDER.glob("*.po")))


def language_of(locale: str) -> Language:
    """Return the language of a locale such as ``de_CH``; without a catalogue of its own it is English."""
    return _language(locale.partition("_")[0])


def preferred_language(accepted: str) -> Language | None:
    """Return the language that a browser's header ``Accept-Language`` likes best of those there are, None for none."""
    known = languages()
    wanted = [(_quality(range_), range_.partition(";")[0].strip().lower()) for range_ in accepted.split(",")]
    # As listed where it likes several the same.
    for quality, tag in sorted(wanted, key=lambda one: -one[0]):
        code = tag.partition("-")[0]
        if quality and code in known:
            return _language(code)
    return None


def _quality(range_: str) -> float:
    """Return how much a part of the header is wanted, from 0 to 1; nothing at all where that can't be read."""
    _, has_quality, text = range_.partition(";q=")
    try:
        return float(text) if has_quality else 1.0
    except ValueError:
        return 0.0


@cache
def _language(code: str) -> Language:
    if code not in languages() or code == SOURCE:
        return ENGLISH
    from babel import Locale

    catalogue = read_catalogue(code)
    form, rule = c2py(catalogue.plural_expr), Locale(code).plural_form

    def form_of(number: int | Decimal) -> int:
        return form(_alike(number, rule) if isinstance(number, Decimal) else number)

    return Language(code, dict(_translated(catalogue)), form_of)


def _alike(number: Decimal, rule: "PluralRule") -> int:
    """Return the smallest whole number of which a language speaks as of a decimal one, 0 where there is none."""
    said = rule(number)
    return next((whole for whole in range(_MAX_ALIKE) if rule(whole) == said), 0)


def read_catalogue(code: str) -> "Catalog":
    """Return the catalogue of a language, with all that is noted in it."""
    # Loaded by whoever writes in another language.
    from babel.messages.pofile import read_po

    with (FOLDER / f"{code}.po").open("rb") as file:
        return read_po(file, locale=code, abort_invalid=True)


def _translated(catalogue: "Catalog") -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the texts that are translated; what is marked as fuzzy is not."""
    for entry in catalogue:
        text = entry.id if isinstance(entry.id, str) else entry.id[0]
        forms = [entry.string] if isinstance(entry.string, str) else entry.string or [""]
        if text and all(forms) and not entry.fuzzy:
            yield text, forms
