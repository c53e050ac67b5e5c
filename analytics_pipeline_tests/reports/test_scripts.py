"""Names in scripts that the document font lacks are shown, joined and in their direction, by fonts of an extra."""

import shutil
from importlib.resources import files
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import pypdfium2  # type: ignore[import-untyped]
import pytest
from pypdf import PdfReader

from analytics_pipeline.reports import script_fonts
from analytics_pipeline.reports.fonts import BOLD, REGULAR, Fonts, document_fonts
from analytics_pipeline.reports.printed_text import Printable, TextSanitizer, fit, is_simple, width, wrapped
from analytics_pipeline.reports.script_fonts import describe_altered, script_coverage
from analytics_pipeline.reports.shaping import shaped
from analytics_pipeline_tests.reports import samples

RTL_FONTS = "justmytype_intl_rtl"
with_fonts = pytest.mark.skipif(
    not all(map(find_spec, ("uharfbuzz", "bidi", RTL_FONTS, "justmytype_intl_cjk"))),
    reason="the extra 'scripts' is not installed",
)
JAPANESE = "\u682a\u5f0f\u4f1a\u793e\u3055\u304f\u3089"
SIMPLIFIED = "\u4e2d\u56fd\u7f51\u7edc"
KOREAN = "\ub300\ud55c\uc804\uc790"
HEBREW = "\u05d7\u05d1\u05e8\u05d4"
ARABIC = "\u0627\u0644\u0631\u064a\u0627\u0636"
THAI = "\u0e1a\u0e23\u0e34\u0e29\u0e31\u0e17"
HINDI = "\u092d\u093e\u0930\u0924"
PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
NAMES = [
    JAPANESE,
    SIMPLIFIED,
    KOREAN,
    HEBREW,
    THAI,
    HINDI,
    PERSIAN,
    "\u09ac\u09be\u0982\u09b2\u09be",
    "\u0ba8\u0bbe\u0b9f\u0bc1",
]


def visual(text: str) -> str:
    """Return the characters of a text as they stand from left to right."""
    return "".join(cluster.text for run in shaped(text, REGULAR) for cluster in run.clusters)


def fonts_of(text: str, font: str = REGULAR) -> list[tuple[str, int]]:
    return [(run.font.name, run.font.weight) for run in shaped(text, font)]


@with_fonts
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_and_found_in_the_document(name: str) -> None:
    pdf = samples.pdf_of(samples.golden(f"{name} GmbH"), ["headline"])
    page = pypdfium2.PdfDocument(pdf.content)[0]
    assert pdf.altered_characters == ()
    assert name in page.get_textpage().get_text_bounded()
    assert "\ufffd" not in PdfReader(BytesIO(pdf.content)).pages[0].extract_text()


@with_fonts
def test_of_a_font_a_document_holds_the_glyphs_it_shows_alone() -> None:
    plain = samples.pdf_of(samples.golden("acme"), ["headline"]).content
    shown = samples.pdf_of(samples.golden(JAPANESE), ["headline"]).content
    # The font has ten megabytes.
    assert len(shown) - len(plain) < 20_000


@with_fonts
def test_a_document_has_the_same_bytes_whichever_were_made_before() -> None:
    first = samples.pdf_of(samples.golden(f"{ARABIC} {JAPANESE}"), ["headline"]).content
    samples.pdf_of(samples.golden(f"{JAPANESE} {THAI} {ARABIC}"), ["headline"])
    assert samples.pdf_of(samples.golden(f"{ARABIC} {JAPANESE}"), ["headline"]).content == first


@with_fonts
def test_right_to_left_is_the_name_and_what_is_in_it_and_not_what_is_beside_it() -> None:
    reversed_name = HEBREW[::-1]
    assert visual(f"Report: {HEBREW}, 12.5 and more") == f"Report: {reversed_name}, 12.5 and more"
    assert visual(f"{HEBREW} {HEBREW} 2026") == f"2026 {reversed_name} {reversed_name}"
    assert visual(f"{HEBREW} (AB)") == f"{reversed_name} (AB)"


@with_fonts
def test_arabic_letters_are_joined() -> None:
    (run,) = shaped("\u0628\u0628\u0628", REGULAR)
    # The last, the middle and the first form of one letter, in their order from left to right.
    assert len({cluster.glyphs[0].index for cluster in run.clusters}) == 3
    assert run.is_reversed


@with_fonts
def test_marks_are_placed_over_their_letters() -> None:
    (run,) = shaped("\u0e17\u0e35\u0e48", REGULAR)
    glyphs = [glyph for cluster in run.clusters for glyph in cluster.glyphs]
    assert [glyph.advance > 0 for glyph in glyphs] == [True, False, False]


@with_fonts
def test_one_font_shows_a_chinese_name() -> None:
    assert fonts_of(f"{SIMPLIFIED[:2]} {SIMPLIFIED}") == [
        ("NotoSansSC-Thin", 400),
        (REGULAR, 400),
        ("NotoSansSC-Thin", 400),
    ]
    assert fonts_of(SIMPLIFIED[0]) == [("NotoSansJP-Thin", 400)]


@with_fonts
def test_headings_are_bold_in_every_script() -> None:
    for name in (JAPANESE, ARABIC, THAI):
        assert {weight for _, weight in fonts_of(name, BOLD)} == {700}
        assert width(Printable(name), REGULAR, 10) > 0


@with_fonts
def test_a_long_name_is_broken_and_cut_to_what_fits() -> None:
    name = Printable(JAPANESE * 5)
    lines = wrapped(name, REGULAR, 10, 100)
    assert "".join(lines) == name
    assert all(width(line, REGULAR, 10) <= 100 for line in lines)
    assert width(fit(name, REGULAR, 10, 100), REGULAR, 10) <= 100


def test_what_the_document_font_holds_is_drawn_as_ever() -> None:
    assert all(map(is_simple, map(Printable, ("Acme & Söhne", "Ελλάδα", "Київ", "1\u202f234,50 \u20ac"))))


def test_without_fonts_a_name_is_marked_and_the_remedy_named(fonts: Fonts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_fonts, "_script_fonts", lambda _folder: ())
    monkeypatch.setattr(script_fonts, "find_spec", lambda _package: None)
    proof = TextSanitizer(fonts.coverage, script_coverage)
    assert proof.printable(f"A{HEBREW}") == "A" + "\ufffd" * len(HEBREW)
    said = describe_altered(proof.altered)
    assert said.startswith("U+05D1, U+05D4, U+05D7, U+05E8: install analytics_pipeline[scripts]")
    assert "ANALYTICS_FONTS" in said
    # No font shows a character that is invisible.
    assert describe_altered(["U+202E"]) == "U+202E"


@with_fonts
def test_with_the_fonts_installed_nobody_is_asked_to_install_them() -> None:
    said = describe_altered(["U+1F600"])
    assert said.startswith("U+1F600: no font of analytics_pipeline[scripts], which is installed, holds them")
    assert "install analytics_pipeline" not in said
    assert "ANALYTICS_FONTS" in said


@with_fonts
def test_a_folder_of_fonts_is_enough_and_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hebrew,) = Path(str(files(RTL_FONTS))).rglob("NotoSansHebrew*.ttf")
    shutil.copy(hebrew, tmp_path / "sub.ttf")
    everything = script_fonts._script_fonts.__wrapped__(tmp_path)
    assert everything[0].family.startswith("Noto Sans Hebrew")
    monkeypatch.setattr(script_fonts, "_PACKAGES", ())
    (font,) = script_fonts._script_fonts.__wrapped__(tmp_path)
    assert {ord(letter) for letter in HEBREW} <= font.coverage
    assert ord(THAI[0]) not in font.coverage


def test_joiners_stay_between_the_letters_that_they_join_alone() -> None:
    arabic = frozenset(range(0x600, 0x700))
    proof = TextSanitizer(document_fonts().coverage, lambda: arabic)
    assert proof.printable(PERSIAN) == PERSIAN
    assert not proof.altered
    assert proof.printable("a\u200cb") == "ab"
    assert proof.altered == ("U+200C",)
