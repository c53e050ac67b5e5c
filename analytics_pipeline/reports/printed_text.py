"""The only way from data to something printed: a paragraph, a drawn string or a table cell.

Nothing else in ``reports`` may build a ``Paragraph`` or call a canvas's string methods; the type ``Printable`` marks
what has passed.

reportlab reads a paragraph as markup (``<img src=...>`` embeds a file of this machine), drops characters it
can't encode and prints nothing where the font has no glyph. Data is hostile or at least surprising, so
everything that reaches a page is made plain first, and what had to be replaced is reported.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal, NewType

from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import simpleSplit
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

Printable = NewType("Printable", str)
"""Text of which every character has a glyph in the document font, without control characters."""

Align = Literal["left", "right", "centre"]

_ALIGNED: dict[Align, float] = {"left": 0.0, "centre": 0.5, "right": 1.0}
"""How much of its width a text stands left of its place."""

REPLACEMENT = "\ufffd"
ELLIPSIS = "\u2026"

_BREAKS = re.compile("[ \t\n\r\f\v\x85\u2028\u2029]+")


def plain(raw: str, *, limit: int = 200) -> str:
    """Return the text as one line of at most ``limit`` characters without control or invisible characters.

    For places that aren't drawn with the document font: metadata and bookmarks.
    """
    return _plain(raw, limit)[0]


class TextSanitizer:
    """Makes the text of one document printable and remembers what it had to change."""

    def __init__(self, coverage: frozenset[int]) -> None:
        """Accept the code points the document font can draw."""
        self._coverage = coverage
        self._altered: set[str] = set()

    def printable(self, raw: str, *, limit: int = 200) -> Printable:
        """Return the text with every character drawable, in one line, cut after ``limit`` characters.

        Line breaks become spaces. Invisible format characters, among them the marks that reorder
        bidirectional text, are dropped; control characters and those without a glyph become U+FFFD.
        """
        if raw.isascii() and raw.isprintable() and len(raw) <= limit:
            # Most texts are figures and plain names: nothing of them can be missing.
            return Printable(raw.strip(" "))
        line, changed = _plain(raw, limit)
        missing = {character for character in line if ord(character) not in self._coverage}
        self._altered |= changed | missing
        return Printable("".join(REPLACEMENT if character in missing else character for character in line))

    @property
    def altered(self) -> tuple[str, ...]:
        """The characters dropped or replaced so far, as ``U+05D0``, in code point order."""
        return tuple(f"U+{ord(character):04X}" for character in sorted(self._altered))


def paragraph(text: Printable, style: ParagraphStyle) -> Paragraph:
    """Return a paragraph that shows the text literally: it doesn't go through reportlab's reader of markup."""
    return Paragraph("", style, frags=[_fragment(style).clone(text=text)])


@lru_cache(maxsize=100)
def _fragment(style: ParagraphStyle) -> Any:
    """Return what reportlab makes of a text without markup in a style."""
    return Paragraph("x", style).frags[0]


def fitted_paragraph(text: Printable, style: ParagraphStyle, space: float, *, lines: int) -> Paragraph:
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
    target = canvas.beginText()
    target.setFont(font, size)
    for x, y, text, align in texts:
        part = _ALIGNED[align]
        target.setTextOrigin(x - part * width(text, font, size) if part else x, y)
        target.textOut(text)
    canvas.drawText(target)


@lru_cache(maxsize=20_000)
def width(text: Printable, font: str, size: float) -> float:
    """Return the width of the text in points; most texts stand in many documents, and more than once in one."""
    return float(stringWidth(text, font, size))


def fit(text: Printable, font: str, size: float, space: float) -> Printable:
    """Return the text, shortened with an ellipsis if it is wider than ``space`` points. Not for numbers."""
    return _shortened(text, lambda candidate: width(Printable(candidate), font, size) <= space)


@lru_cache(maxsize=1_000)
def wrapped(text: Printable, font: str, size: float, space: float) -> tuple[Printable, ...]:
    """Return the text in lines of at most ``space`` points. For fixed texts: what is asked again is remembered."""
    return tuple(Printable(line) for line in simpleSplit(text, font, size, space))


def shrink(text: Printable, font: str, size: float, space: float) -> float:
    """Return the largest font size up to ``size`` at which the text fits into ``space`` points."""
    return min(size, size * space / max(width(text, font, size), 1e-6))


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


def _plain(raw: str, limit: int) -> tuple[str, set[str]]:
    """Return the cleaned line and the characters it had to drop or replace."""
    line = _BREAKS.sub(" ", raw).strip(" ")
    if len(line) > limit:
        line = line[: limit - 1].rstrip() + ELLIPSIS
    changed: set[str] = set()
    kept: list[str] = []
    for character in unicodedata.normalize("NFC", line):
        category = unicodedata.category(character)
        if category == "Cf" or "\ufe00" <= character <= "\ufe0f":
            changed.add(character)
        elif category in {"Cc", "Cs"}:
            changed.add(character)
            kept.append(REPLACEMENT)
        else:
            kept.append(character)
    return "".join(kept), changed
