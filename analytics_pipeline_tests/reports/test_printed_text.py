"""Text from data is printed literally, or visibly marked, and never read as markup."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

import analytics_pipeline.reports
from analytics_pipeline.reports.fonts import Fonts, document_fonts
from analytics_pipeline.reports.layout import Sheet
from analytics_pipeline.reports.printed_text import (
    ELLIPSIS,
    REPLACEMENT,
    Printable,
    TextSanitizer,
    draw_all,
    fit,
    fitted_paragraph,
    paragraph,
    plain,
    shrink,
    width,
)
from analytics_pipeline_tests.reports import samples


@pytest.fixture
def proof(fonts: Fonts) -> TextSanitizer:
    return TextSanitizer(fonts.coverage)


@pytest.mark.parametrize(
    "name",
    [
        "S&P 500",
        "AT&T <sales@att.com>",
        "Acme <b>GmbH",
        '<img src="/etc/passwd">',
        "&amp; &#0;",
        samples.MARKUP,
    ],
)
def test_markup_is_shown_literally(proof: TextSanitizer, sheet: Sheet, name: str) -> None:
    shown = paragraph(proof.printable(name), sheet.styles.fact)

    assert shown.getPlainText() == name
    assert proof.altered == ()


def test_symbols_and_cyrillic_are_drawn(proof: TextSanitizer) -> None:
    text = "Ромашка и сыновья 5 € 0,1 ₿ Ελλάς Łódź ‰ \u2212"

    assert proof.printable(text) == text
    assert proof.altered == ()


def test_control_characters_are_marked_and_line_breaks_become_spaces(proof: TextSanitizer) -> None:
    shown = proof.printable(samples.CONTROLS)

    assert shown == f"Bell{REPLACEMENT} and{REPLACEMENT} null{REPLACEMENT}[31m line break tab"
    assert proof.altered == ("U+0000", "U+0007", "U+001B")


def test_right_to_left_text_is_marked_and_cannot_reorder_the_line(proof: TextSanitizer) -> None:
    shown = proof.printable(samples.RIGHT_TO_LEFT)

    assert shown == f"evil {REPLACEMENT * 4} {REPLACEMENT * 4}"
    assert {"U+202E", "U+200F", "U+05D7", "U+0634"} <= set(proof.altered)


@pytest.mark.parametrize("hidden", ["\u200b", "\u200d", "\ufeff", "\u00ad", "\u2066", "\U000e0041", "\ufe0f"])
def test_invisible_characters_are_dropped_and_reported(proof: TextSanitizer, hidden: str) -> None:
    assert proof.printable(f"ac{hidden}me") == "acme"
    assert proof.altered == (f"U+{ord(hidden):04X}",)


def test_glyphs_that_the_font_lacks_are_marked(proof: TextSanitizer) -> None:
    shown = proof.printable("漢字 \U0001f600 \ud800 \u2192 x")

    assert shown == f"{REPLACEMENT * 2} {REPLACEMENT} {REPLACEMENT} {REPLACEMENT} x"
    assert proof.altered == ("U+2192", "U+5B57", "U+6F22", "U+D800", "U+1F600")


def test_a_long_name_is_cut_with_an_ellipsis(proof: TextSanitizer) -> None:
    shown = proof.printable(samples.LONG_WORD, limit=50)

    assert shown == "W" * 49 + ELLIPSIS


def test_plain_keeps_letters_of_any_script_but_nothing_invisible() -> None:
    assert plain("\u202e\u05d7\u05d1\u05e8\u05d4\x00\n漢") == f"\u05d7\u05d1\u05e8\u05d4{REPLACEMENT} 漢"


def test_fit_keeps_what_fits_and_shortens_the_rest(proof: TextSanitizer, fonts: Fonts) -> None:
    text = proof.printable("International Trading Company")
    shortened = fit(text, fonts.bold, 24, 200)

    assert fit(text, fonts.bold, 24, 1_000) == text
    assert shortened.endswith(ELLIPSIS)
    assert width(shortened, fonts.bold, 24) <= 200


@pytest.mark.parametrize("name", [samples.LONG_WORD, samples.LONG_NAME, samples.MARKUP * 20])
def test_a_fitted_paragraph_keeps_to_its_lines(proof: TextSanitizer, sheet: Sheet, name: str) -> None:
    style = sheet.styles.title
    shown = fitted_paragraph(proof.printable(name), style, sheet.width, lines=2)

    assert shown.wrap(sheet.width, 0)[1] == 2 * style.leading
    assert shown.getPlainText().endswith(ELLIPSIS)


def test_shrink_gives_the_size_at_which_a_figure_fits(proof: TextSanitizer, fonts: Fonts) -> None:
    figure = proof.printable("123,456,789,012,345.67")

    assert shrink(figure, fonts.bold, 19, 10_000) == 19
    assert width(figure, fonts.bold, shrink(figure, fonts.bold, 19, 60)) == pytest.approx(60)


@settings(deadline=None, max_examples=150)
@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_any_text_is_printable(raw: str) -> None:
    fonts = document_fonts()
    shown = TextSanitizer(fonts.coverage).printable(raw)

    assert all(ord(character) in fonts.coverage for character in shown)
    paragraph(shown, ParagraphStyle("any", fontName=fonts.regular)).wrap(100, 100)


def test_texts_are_written_as_reportlab_writes_them(fonts: Fonts) -> None:
    # More characters than one subset of a font has room for, some of them before they are known and after.
    many = [chr(code) for code in sorted(fonts.coverage) if code > 0xA0][:400]
    texts = [
        "1,234.50",
        "",
        "a (b) \\c",
        "\u2212" + "12\u00a0%",
        "".join(many[:250]),
        "".join(many),
        "\u2212" + "3 \u00b7 x",
        many[-1],
        "café",
    ]
    ours: Any = Canvas("", invariant=1)
    theirs: Any = Canvas("", invariant=1)
    for font, size in ((fonts.regular, 8.5), (fonts.bold, 19.0), (fonts.regular, 8.5)):
        draw_all(
            ours, [(10.123456, 20.0 + index, Printable(text), "left") for index, text in enumerate(texts)], font, size
        )
        written = theirs.beginText()
        written.setFont(font, size)
        for index, text in enumerate(texts):
            written.setTextOrigin(10.123456, 20.0 + index)
            written.textOut(text)
        theirs.drawText(written)

    assert ours.getpdfdata() == theirs.getpdfdata()


@pytest.mark.parametrize(
    "text",
    [
        "Revenue rose by 97.9% to 2,169.66 EUR, from 1,096.07 EUR in the month before. " * 3,
        "A year-on-year-comparison-of-everything with hyphens, " * 4,
        "Donaudampfschifffahrtsgesellschaftskapitänsmütze after a few words, too long for some lines",
        "Beträge\u00a0in\u00a0EUR \u2013 größer als \u2212" + "5 " * 40,
        "",
    ],
)
def test_paragraphs_are_set_as_reportlab_sets_them(sheet: Sheet, text: str) -> None:
    style = sheet.styles.sentence
    # Among so many widths are some at which a line is tighter than usual.
    for space in range(90, 400, 7):
        ours, theirs = paragraph(Printable(text), style), Paragraph("x", style)
        theirs = Paragraph("", style, frags=[theirs.frags[0].clone(text=text)])
        drawn: Any = Canvas("", invariant=1)
        expected: Any = Canvas("", invariant=1)
        assert ours.wrap(space, 1_000) == theirs.wrap(space, 1_000)
        for shown, canvas in ((ours, drawn), (theirs, expected)):
            shown.drawOn(canvas, 0, 0)

        assert drawn._code == expected._code


def test_no_other_module_puts_text_on_a_page() -> None:
    ways = (
        "Paragraph(",
        ".drawString",
        ".drawRightString",
        ".drawCentredString",
        ".beginText",
        "drawInlineImage",
        "import texts_shown",
    )
    found = [f"{path.name}: {way}" for path in _modules() for way in ways if way in path.read_text(encoding="utf-8")]

    assert found == []


def _modules() -> Iterator[Path]:
    folder = Path(analytics_pipeline.reports.__path__[0])
    return (path for path in folder.rglob("*.py") if path.name != "printed_text.py")
