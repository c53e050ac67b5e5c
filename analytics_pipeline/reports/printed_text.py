"""The only way from data to something printed: a paragraph, a drawn string or a table cell.

Nothing else in ``reports`` may build a ``Paragraph`` or call a canvas's string methods; the type ``Printable`` marks
what has passed.

reportlab reads a paragraph as markup (``<img src=...>`` embeds a file of this machine), drops characters it
can't encode and prints nothing where the font has no glyph. Data is hostile or at least surprising, so
everything that reaches a page is made plain first, and what had to be replaced is reported.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NewType

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph
from reportlab.platypus.paragraph import split, strip  # type: ignore[attr-defined]

from analytics_pipeline.reports.fonts import font_files
from analytics_pipeline.reports.shaping import JOINERS, shaped, shaped_width
from analytics_pipeline.reports.text_operators import lines_shown, texts_shown

Printable = NewType("Printable", str)
"""Text of which every character has a glyph in the fonts of documents, without control characters."""

Align = Literal["left", "right", "centre"]

_ALIGNED: dict[Align, float] = {"left": 0.0, "centre": 0.5, "right": 1.0}
"""How much of its width a text stands left of its place."""

REPLACEMENT = "\ufffd"
ELLIPSIS = "\u2026"

# What reportlab leaves to rounding when it fills a line.
_FUZZ = 1e-8
_BREAKS = re.compile("[ \t\n\r\f\v\x85\u2028\u2029]+")


def plain(raw: str, *, limit: int = 200) -> str:
    """Return the text as one line of at most ``limit`` characters without control or invisible characters.

    For places that aren't drawn with the document font: metadata and bookmarks.
    """
    return _plain(raw, limit)[0]


class TextSanitizer:
    """Makes the text of one document printable and remembers what it had to change."""

    def __init__(self, coverage: frozenset[int], scripts: Callable[[], frozenset[int]] = frozenset) -> None:
        """Accept the code points the document font can draw, and those that the fonts of other scripts can."""
        self._coverage = coverage
        self._scripts = scripts
        self._settled = _settled(coverage)
        self._altered: set[str] = set()

    def printable(self, raw: str, *, limit: int = 200) -> Printable:
        """Return the text with every character drawable, in one line, cut after ``limit`` characters.

        Line breaks become spaces. Invisible format characters, among them the marks that reorder
        bidirectional text, are dropped, but joiners between letters of other scripts; control characters and those
        without a glyph become U+FFFD.
        """
        if raw.isascii() and raw.isprintable() and len(raw) <= limit:
            # Most texts are figures and plain names: nothing of them can be missing.
            return Printable(raw.strip(" "))
        if len(raw) <= limit and self._settled.issuperset(raw):
            return Printable(raw.strip(" "))
        line, changed = _plain(raw, limit, self._joins)
        missing = {character for character in line if ord(character) not in self._coverage} - JOINERS
        if missing:
            missing = {character for character in missing if ord(character) not in self._scripts()}
        self._altered |= changed | missing
        return Printable("".join(REPLACEMENT if character in missing else character for character in line))

    def _joins(self, before: str, after: str) -> bool:
        """Return whether what stands between two characters joins letters of another script."""
        return all(ord(side) not in self._coverage and ord(side) in self._scripts() for side in (before, after))

    @property
    def altered(self) -> tuple[str, ...]:
        """The characters dropped or replaced so far, as ``U+05D0``, in code point order."""
        return tuple(f"U+{ord(character):04X}" for character in sorted(self._altered))


@lru_cache(maxsize=8)
def _settled(coverage: frozenset[int]) -> frozenset[str]:
    """Return the characters of a font that stay what they are beside any other: none is dropped, marked or composed."""
    return frozenset(
        character
        for character in map(chr, coverage)
        if unicodedata.category(character)[0] not in "MC"
        and unicodedata.is_normalized("NFC", character)
        and (character == " " or not _BREAKS.match(character))
    )


def paragraph(text: Printable, style: ParagraphStyle) -> "ShapedParagraph":
    """Return a paragraph that shows the text literally: it doesn't go through reportlab's reader of markup."""
    return PlainParagraph(text, style) if is_simple(text) else ShapedParagraph(text, style)


class ShapedParagraph(Flowable):
    """A paragraph, flush left, of a text that has to be shaped."""

    def __init__(self, text: Printable, style: ParagraphStyle) -> None:
        """Accept a style of which font, size, colour and distances count."""
        super().__init__()
        self.style = style
        self._text = text
        self._lines: Sequence[Printable] = ()

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803 - reportlab's signature
        """Take the width given, and the lines that the text needs in it."""
        self._lines = wrapped(self._text, self.style.fontName, self.style.fontSize, aW)
        self.width, self.height = aW, len(self._lines) * self.style.leading
        return self.width, self.height

    def draw(self) -> None:
        """Draw the lines."""
        style = self.style
        self.canv.setFillColor(style.textColor)
        for index, line in enumerate(self._lines):
            at = (0.0, self.height - style.fontSize - index * style.leading)
            draw(self.canv, at, line, style.fontName, style.fontSize)

    def getSpaceBefore(self) -> float:  # noqa: N802 - reportlab's hook
        """Return the distance to what is above."""
        return float(self.style.spaceBefore)

    def getSpaceAfter(self) -> float:  # noqa: N802 - reportlab's hook
        """Return the distance to what is below."""
        return float(self.style.spaceAfter)

    def getPlainText(self) -> str:  # noqa: N802 - as a paragraph's
        """Return the text."""
        return self._text


class PlainParagraph(ShapedParagraph):
    """A paragraph, flush left, of a text that the document font alone shows, as reportlab sets it.

    One with a word that has to be broken, or that goes on on the next page, is left to reportlab.
    """

    _broken: Paragraph | None = None
    _filled: Sequence[tuple[str, float]] = ()

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: N803 - reportlab's signature
        """Take the width given, and the lines that the text needs in it."""
        style = self.style
        filled = _filled(self._text, style.fontName, style.fontSize, aW, style.spaceShrinkage)
        if filled is None:
            self._broken = self._set_by_reportlab()
            self.width, self.height = self._broken.wrap(aW, aH)
        else:
            self._broken, self._filled = None, filled
            self.width, self.height = aW, len(filled) * style.leading
        return self.width, self.height

    def split(self, aW: float, aH: float) -> list[Flowable]:  # noqa: N803
        """Share the lines between two pages."""
        whole = self._set_by_reportlab()
        whole.wrap(aW, aH)
        parts: list[Flowable] = whole.split(aW, aH)
        return parts

    def draw(self) -> None:
        """Draw the lines."""
        canvas: Any = self.canv
        style = self.style
        if self._broken is not None:
            self._broken.canv = canvas
            self._broken.draw()
        elif self._filled:
            y = self.height - style.fontSize
            canvas.saveState()
            canvas.setFillColor(style.textColor)
            shown = lines_shown(canvas._doc, self._filled, y, style.fontName, style.fontSize, style.leading)
            canvas._code.append(shown)
            canvas.restoreState()

    def _set_by_reportlab(self) -> Paragraph:
        return Paragraph("", self.style, frags=[_fragment(self.style).clone(text=self._text)])


@lru_cache(maxsize=2_000)
def _filled(
    text: Printable, font: str, size: float, space: float, shrinkage: float
) -> tuple[tuple[str, float], ...] | None:
    """Return lines filled as reportlab fills them, each with what its blanks are wider than usual, below 0 if less.

    None where a word is too long for its line, and may be broken.
    """
    blank = width(Printable(" "), font, size)
    lines: list[tuple[list[str], float]] = []
    line: list[str] = []
    reached = -blank
    for word in split(strip(text)):
        wide = width(Printable(word), font, size)
        longer = reached + blank + wide
        if longer > space + shrinkage * blank * len(line):
            if wide > space or "-" in word:
                return None
            lines.append((line, space - reached))
            line, reached = [word], wide
        else:
            line.append(word)
            reached = longer
    if line:
        lines.append((line, space - reached))
    return tuple(_spaced(words, left) for words, left in lines)


def _spaced(words: Sequence[str], left: float) -> tuple[str, float]:
    line = " ".join(words)
    blanks = len(words) + line.count("\u00a0") - 1
    return line, left / blanks if left <= -_FUZZ and blanks > 0 else 0.0


@lru_cache(maxsize=100)
def _fragment(style: ParagraphStyle) -> Any:
    """Return what reportlab makes of a text without markup in a style."""
    return Paragraph("x", style).frags[0]


def fitted_paragraph(text: Printable, style: ParagraphStyle, space: float, *, lines: int) -> ShapedParagraph:
    """Return a paragraph of at most ``lines`` lines of ``space`` points, shortened with an ellipsis."""

    def fits(candidate: str) -> bool:
        height = paragraph(Printable(candidate), style).wrap(space, 0)[1]
        return bool(height <= lines * style.leading)

    return paragraph(_shortened(text, fits), style)


def draw(
    canvas: Canvas, at: tuple[float, float], text: Printable, font: str, size: float, *, align: Align = "left"
) -> None:
    """Draw one line of text on the baseline through ``at``, its left end, right end or middle there."""
    draw_all(canvas, [(*at, text, align)], font, size)


def draw_all(canvas: Canvas, texts: Iterable[tuple[float, float, Printable, Align]], font: str, size: float) -> None:
    """Draw lines of text as ``draw`` does, in one go: what they share is written once."""
    target: Any = canvas
    placed = [
        (
            x - part * width(text, font, size) if (part := _ALIGNED[align]) else x,
            y,
            text if is_simple(text) else shaped(text, font),
        )
        for x, y, text, align in texts
    ]
    target._code.append(texts_shown(target._doc, placed, font, size))


@lru_cache(maxsize=20_000)
def width(text: Printable, font: str, size: float) -> float:
    """Return the width of the text in points; most texts stand in many documents, and more than once in one."""
    return float(stringWidth(text, font, size)) if is_simple(text) else shaped_width(text, font, size)


def fit(text: Printable, font: str, size: float, space: float) -> Printable:
    """Return the text, shortened with an ellipsis if it is wider than ``space`` points. Not for numbers."""
    return _shortened(text, lambda candidate: width(Printable(candidate), font, size) <= space)


@lru_cache(maxsize=1_000)
def wrapped(text: Printable, font: str, size: float, space: float) -> tuple[Printable, ...]:
    """Return the text in lines of at most ``space`` points. For fixed texts: what is asked again is remembered."""
    if is_simple(text):
        return tuple(Printable(line) for line in simpleSplit(text, font, size, space))
    return tuple(_broken(text, font, size, space))


def shrink(text: Printable, font: str, size: float, space: float) -> float:
    """Return the largest font size up to ``size`` at which the text fits into ``space`` points."""
    return min(size, size * space / max(width(text, font, size), 1e-6))


@lru_cache(maxsize=20_000)
def is_simple(text: Printable) -> bool:
    """Return whether the document font alone shows the text, a glyph for each character from left to right."""
    return text.isascii() or not (set(map(ord, text)) - font_files().coverage)


def _broken(text: Printable, font: str, size: float, space: float) -> Iterator[Printable]:
    """Yield lines that are broken at blanks, and within a word that is wider than a line."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(Printable(longer), font, size) <= space:
            line = longer
            continue
        if line:
            yield Printable(line)
        line = ""
        for character in word:
            is_mark = unicodedata.category(character)[0] == "M" or character in JOINERS
            if line and not is_mark and width(Printable(line + character), font, size) > space:
                yield Printable(line)
                line = ""
            line += character
    if line:
        yield Printable(line)


def _shortened(text: Printable, fits: Callable[[str], bool]) -> Printable:
    """Return the text if it fits, else its longest beginning that fits with an ellipsis."""
    if fits(text):
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(text[:middle].rstrip() + ELLIPSIS):
            low = middle
        else:
            high = middle - 1
    return Printable(text[:low].rstrip() + ELLIPSIS)


def _plain(
    raw: str, limit: int, joins: Callable[[str, str], bool] = lambda _before, _after: False
) -> tuple[str, set[str]]:
    """Return the cleaned line and the characters it had to drop or replace.

    ``joins`` says of two characters whether a joiner between them is kept.
    """
    line = _BREAKS.sub(" ", raw).strip(" ")
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + ELLIPSIS
    changed: set[str] = set()
    kept: list[str] = []
    line = unicodedata.normalize("NFC", line)
    for index, character in enumerate(line):
        category = unicodedata.category(character)
        if character in JOINERS and 0 < index < len(line) - 1 and joins(line[index - 1], line[index + 1]):
            kept.append(character)
        elif category == "Cf" or "\ufe00" <= character <= "\ufe0f":
            changed.add(character)
        elif category in {"Cc", "Cs"}:
            changed.add(character)
            kept.append(REPLACEMENT)
        else:
            kept.append(character)
    return "".join(kept), changed
