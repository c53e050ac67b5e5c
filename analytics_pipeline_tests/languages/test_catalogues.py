"""The catalogues hold every message there is, and a message is said in the words of its language, or in English."""

import pickle
import string
from collections.abc import Mapping

import pytest
from babel.messages.catalog import Message as Entry

from analytics_pipeline.languages.catalogues import (
    ENGLISH,
    FOLDER,
    Language,
    language_of,
    languages,
    preferred_language,
    read_catalogue,
)
from analytics_pipeline.languages.collecting import collect
from analytics_pipeline.languages.wording import message, plural

OTHERS = [code for code in languages() if code != "en"]


@pytest.fixture(scope="module")
def collected() -> Mapping[str | tuple[str, ...], Entry]:
    """Every message of code and templates, by its English."""
    return {_texts(entry.id): entry for entry in collect() if entry.id}


def _texts(text: object) -> str | tuple[str, ...]:
    return text if isinstance(text, str) else tuple(text)  # type: ignore[arg-type]


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_documents_have_words_in_english_spanish_and_german() -> None:
    assert {"en", "de", "es"} <= set(languages())


def test_messages_are_collected_from_code_and_templates(collected: Mapping[str | tuple[str, ...], Entry]) -> None:
    files = {file for entry in collected.values() for file, _ in entry.locations}
    assert {"reports/sections/title.py", "reports/templates/report.html", "metrics/rates.py"} <= files
    assert {"alerts/notices.py", "messages/templates/notice.html", "messages/incident_words.py"} <= files


@pytest.mark.parametrize("code", OTHERS)
def test_a_catalogue_has_every_message_and_no_other(
    code: str, collected: Mapping[str | tuple[str, ...], Entry]
) -> None:
    remedy = "run `python -m analytics_pipeline.languages.collecting` and translate what it adds"
    translated = {_texts(entry.id): entry for entry in read_catalogue(code) if entry.id}
    assert not collected.keys() - translated.keys(), remedy
    assert not translated.keys() - collected.keys(), remedy
    forms = read_catalogue(code).num_plurals
    for text, entry in translated.items():
        given = [entry.string] if isinstance(entry.string, str) else list(entry.string or ())
        assert all(given), f"{code}.po lacks {text!r}"
        assert len(given) == (1 if isinstance(text, str) else forms), text
        assert not entry.fuzzy, f"{code}.po is not sure of {text!r}"
        wanted = _names(text if isinstance(text, str) else text[0])
        assert all(_names(one) == wanted for one in given), f"{code}.po fills other places of {text!r}"


def test_a_message_is_its_english_text_for_whoever_knows_no_languages() -> None:
    said = message("Revenue by month, {currency}", currency="EUR")
    assert said == "Revenue by month, EUR"
    assert f"{said}!" == "Revenue by month, EUR!"
    assert message("100 % {literally}") == "100 % {literally}"
    assert plural("{number} figure", "{number} figures", 2) == "2 figures"


def test_a_message_is_said_with_what_stands_in_it() -> None:
    german = language_of("de")
    inner = message("Refunds")
    assert german.say(message("{figure}, {unit}", figure=inner, unit="EUR")) == "Erstattungen, EUR"
    assert german.say("Refunds") == "Refunds", "a name that is called like a message stays"
    left = [german.say(plural("{number} customer left", "{number} customers left", n)) for n in (1, 2, 5)]
    assert left == ["1 Kunde ging", "2 Kunden gingen", "5 Kunden gingen"]


def test_what_a_catalogue_lacks_is_said_in_english() -> None:
    sparse = Language("xx", {}, lambda _: 0)
    assert sparse.say(message("Refunds in {currency}", currency="EUR")) == "Refunds in EUR"
    assert sparse.say(plural("{number} customer left", "{number} customers left", 3)) == "3 customers left"
    assert language_of("fr") is ENGLISH


@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("de", "de"),
        ("DE-AT, en;q=0.8", "de"),
        ("fr, en;q=0.5, es;q=0.7", "es"),
        ("de;q=0, en;q=0.1", "en"),
        ("de;q=none, es", "es"),
    ],
)
def test_the_language_that_a_browser_likes_best_is_chosen(accepted: str, code: str) -> None:
    chosen = preferred_language(accepted)
    assert chosen is not None
    assert chosen.code == code


@pytest.mark.parametrize("accepted", ["", "fr, ja;q=0.5", "*", ";q=;,,", "de;q=0"])
def test_without_a_language_that_a_browser_likes_none_is_chosen(accepted: str) -> None:
    assert preferred_language(accepted) is None


def test_a_message_stays_one_in_another_process() -> None:
    said = pickle.loads(pickle.dumps(message("Refunds in {currency}", currency="EUR")))  # noqa: S301 - made here
    assert language_of("es").say(said) == "Reembolsos en EUR"


def test_translations_do_without_the_letter_that_switzerland_does_not_write() -> None:
    # de.po serves de_CH, too.
    assert "\u00df" not in (FOLDER / "de.po").read_text(encoding="utf-8")
