"""The operators that show texts on a page of a PDF: those that reportlab writes, without its steps for each text.

A report has a thousand texts, a quarter of the time it takes: reportlab measures each to know where it ends, which the
next one, at a place of its own, never asks, and numbers every character anew.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

from reportlab.lib.rl_accel import escapePDF, fp_str
from reportlab.pdfbase.pdfdoc import PDFDocument
from reportlab.pdfbase.pdfmetrics import getFont

from analytics_pipeline.reports.glyph_fonts import runs_shown
from analytics_pipeline.reports.shaping import Run

# Figures stand in columns, at the same places on every page.
_number = lru_cache(maxsize=10_000)(fp_str)
_LAST_CODE = "\u00ff"
_BEGIN = "BT 1 0 0 1 0 0 Tm"


def texts_shown(
    document: PDFDocument, texts: Iterable[tuple[float, float, str | Iterable[Run]]], font: str, size: float
) -> str:
    """Return the operators that show texts from their left ends on their baselines, each a plain one or shaped.

    ``font`` is a TrueType font that reportlab knows and embeds of it what is shown; it has a glyph for every character
    of a plain text.
    """
    writer = _Writer(document, font, size, size * 1.2)
    parts = [_BEGIN]
    for x, y, text in texts:
        parts.append(f"1 0 0 1 {_number(x)} {_number(y)} Tm")
        if isinstance(text, str):
            parts.append(writer.shown(text))
        else:
            parts.append(runs_shown(document, text, size))
            # What follows has the font it had.
            writer.selected = -1
    parts.append("ET")
    return " ".join(parts)


def lines_shown(
    document: PDFDocument, lines: Iterable[tuple[str, float]], y: float, font: str, size: float, leading: float
) -> str:
    """Return the operators that show lines below each other from the left edge, the first on the baseline at ``y``.

    Each comes with what its blanks are wider than usual. ``font`` as for ``texts_shown``.
    """
    writer = _Writer(document, font, size, leading)
    parts = [f"BT 1 0 0 1 0 {_number(y)} Tm"]
    for line, wider in lines:
        shown = f"{writer.shown(line)} T*"
        parts += [f"{fp_str(wider)} Tw", shown, "0 Tw"] if wider else [shown]
    parts.append("ET")
    return " ".join(parts)


class _Writer:
    """Writes plain texts in a font, which it selects where another subset was, ``selected`` below 0: none."""

    def __init__(self, document: PDFDocument, font: str, size: float, leading: float) -> None:
        self._document = document
        self._font = cast("Any", getFont(font))
        self._given = self._font._assignState(document).assignments
        self._size = size
        self._leading = leading
        self.selected = -1

    def shown(self, text: str) -> str:
        pieces = []
        for subset, codes in _in_subsets(self._font, self._document, text, self._given):
            if subset != self.selected:
                name = self._font.getSubsetInternalName(subset, self._document)
                pieces.append(_selected(name, self._size, self._leading))
                self.selected = subset
            pieces.append(f"({escapePDF(codes)}) Tj")
        return " ".join(pieces)


def _in_subsets(
    font: Any, document: PDFDocument, text: str, given: Mapping[int, int]
) -> Iterable[tuple[int, str | bytes]]:
    """Return a text as codes of the font's subsets; ``given`` are those that characters have in the document so far."""
    if text.isascii():
        # These are in the first subset, under their own codes, in every document.
        return ((0, text),) if text else ()
    if given.keys() >= set(map(ord, text)):
        codes = text.translate(given)
        if max(codes) <= _LAST_CODE:
            return ((0, codes),)
    split: Iterable[tuple[int, bytes]] = font.splitString(text, document)
    return split


@lru_cache(maxsize=1_000)
def _selected(name: str, size: float, leading: float) -> str:
    return f"{name} {fp_str(size)} Tf {fp_str(leading)} TL"
