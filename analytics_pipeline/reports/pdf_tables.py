"""Tables of figures and of words, and the invisible tables that place flowables side by side.

Figures have a head that repeats on every page, words on the left, digits aligned on the right.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, NamedTuple

from reportlab.lib.colors import Color
from reportlab.platypus import Flowable, Table, TableStyle

from analytics_pipeline.reports.layout import ACCENT, HAIRLINE, INK, MUTED, TINT, Sheet
from analytics_pipeline.reports.printed_text import Align, Printable, draw, draw_all, fit, width, wrapped

_SIZE = 8.5
_HEAD_SHARE = 0.9
_PADDING = 4.0
_ROW = 14.5
_BASELINE = 4.6
_LEAST_TEXT = 70.0
# Words beside figures keep a distance: one ends where the other begins.
_BESIDE = 10.0
# A table of so many rows stays whole if a page can hold it; a longer one keeps a few rows with its heading.
_WHOLE_UP_TO = 18
_LEAST_ROWS = 4
# So few rows never stand alone on the page after; the sum has rows above it.
_LEAST_LEFT = 2
_TERM_SHARE = 0.27
_GLOSSARY_SIZE = 8.0
_GLOSSARY_LINE = 11.0
_GLOSSARY_GAP = 2.0


class Head(NamedTuple):
    """A column's heading; words stand on the left, figures on the right."""

    title: Printable
    is_text: bool


class FiguresTable(Flowable):
    """A table as wide as the page.

    ``marked`` is the row (from 0) that the report is about; ``total`` is set apart below the rows as their sum.
    Words that are too long are cut, digits never are: a table with longer figures than its columns hold is set
    smaller. Splitting it shares the rows, so that a long table costs no more for each page it takes.
    """

    def __init__(
        self,
        sheet: Sheet,
        heads: Sequence[Head],
        rows: Sequence[Sequence[Printable]],
        *,
        total: Sequence[Printable] | None = None,
        marked: int | None = None,
    ) -> None:
        """Accept at least one column; every row has a cell for each."""
        super().__init__()
        self._sheet = sheet
        self._heads = heads
        self._rows = rows
        self._total = total
        self._marked = marked
        self._width = sheet.width
        self._span = (0, len(rows))
        self._gaps = [
            _BESIDE if head.is_text and index and not heads[index - 1].is_text else 0.0
            for index, head in enumerate(heads)
        ]
        self._is_tight = False
        self._size, self._columns = self._measure()

    @property
    def least_height(self) -> float:
        """The height to be left on the page where the table begins."""
        count = len(self._rows) + (self._total is not None)
        return _ROW * (1 + (count if count <= _WHOLE_UP_TO else _LEAST_ROWS))

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803 - reportlab's signature
        """Take the width given, and a fixed height per row."""
        first, last = self._span
        return self._width, _ROW * (1 + last - first + self._has_total)

    def split(self, aW: float, aH: float) -> list[Flowable]:  # noqa: ARG002, N803
        """Break before the first row that doesn't fit, and leave some rows to the next page."""
        first, last = self._span
        fits = min(int(aH / _ROW) - 1, last - first - _LEAST_LEFT)
        if fits < 1:
            return []
        return [self._part(first, first + fits), self._part(first + fits, last)]

    def draw(self) -> None:
        """Draw head, rows and the sum."""
        canvas, fonts = self.canv, self._sheet.fonts
        first, last = self._span
        rows = list(self._rows[first:last])
        top = _ROW * (len(rows) + self._has_total)
        marked = self._marked - first if self._marked is not None and first <= self._marked < last else None
        if marked is not None:
            canvas.setFillColor(TINT)
            canvas.rect(0, top - (marked + 1) * _ROW, self._width, _ROW, stroke=0, fill=1)
        self._rules([top - index * _ROW for index in range(1, len(rows) + 1)], HAIRLINE, 0.4)
        self._rules([top], ACCENT, 0.8)
        canvas.setFillColor(MUTED)
        self._cells([(top, [head.title for head in self._heads])], fonts.bold, self._size * _HEAD_SHARE)
        canvas.setFillColor(INK)
        placed_rows = [(top - (index + 1) * _ROW, row) for index, row in enumerate(rows)]
        strong = [placed_rows.pop(marked)] if marked is not None else []
        self._cells(placed_rows, fonts.regular, self._size)
        if self._has_total and self._total is not None:
            strong.append((0.0, self._total))
            self._rules([_ROW], INK, 0.8)
        if strong:
            self._cells(strong, fonts.bold, self._size)

    @property
    def _has_total(self) -> bool:
        return self._total is not None and self._span[1] == len(self._rows)

    def _part(self, first: int, last: int) -> "FiguresTable":
        part = copy(self)
        part._span = (first, last)
        # What reportlab has noted of the whole does not hold for a part.
        part.__dict__.pop("_postponed", None)
        return part

    def _cells(self, rows: Sequence[tuple[float, Sequence[Printable]]], font: str, size: float) -> None:
        """Draw rows, each given with the height it stands on."""
        places: list[tuple[float, float, Align]] = []
        left = 0.0
        for head, gap, column in zip(self._heads, self._gaps, self._columns, strict=True):
            left += gap + _PADDING
            places.append((left, column, "left") if head.is_text else (left + column, column, "right"))
            left += column + _PADDING
        texts = [
            (x, y + _BASELINE, fit(cell, font, size, column) if self._is_tight and align == "left" else cell, align)
            for y, row in rows
            for cell, (x, column, align) in zip(row, places, strict=True)
            if cell
        ]
        draw_all(self.canv, texts, font, size)

    def _rules(self, heights: Sequence[float], colour: Color, line: float) -> None:
        self.canv.setStrokeColor(colour)
        self.canv.setLineWidth(line)
        self.canv.lines([(0, y, self._width, y) for y in heights])

    def _measure(self) -> tuple[float, list[float]]:
        """Return the font size and the width of each column's text, measured in bold to be safe."""
        bold = self._sheet.fonts.bold
        rows = [*self._rows, *([self._total] if self._total is not None else [])]
        natural = [
            max(
                width(head.title, bold, _SIZE * _HEAD_SHARE),
                max((width(row[index], bold, _SIZE) for row in rows), default=0.0),
            )
            for index, head in enumerate(self._heads)
        ]
        space = self._width - 2 * _PADDING * len(natural) - sum(self._gaps)
        rest = space - sum(natural)
        if rest >= 0:
            return _SIZE, [column + rest / len(natural) for column in natural]
        self._is_tight = True
        is_text = [head.is_text for head in self._heads]
        figures = sum(column for column, text in zip(natural, is_text, strict=True) if not text)
        words = [column for column, text in zip(natural, is_text, strict=True) if text]
        least = sum(min(column, _LEAST_TEXT) for column in words)
        smaller = min(1.0, (space - least) / figures) if figures else 1.0
        cut = _cut(words, space - smaller * figures)
        return _SIZE * smaller, [
            min(column, cut) if text else column * smaller for column, text in zip(natural, is_text, strict=True)
        ]


def _cut(columns: Sequence[float], space: float) -> float:
    """Return the width above which columns are cut so that together they take ``space``."""
    left = space
    for index, column in enumerate(sorted(columns)):
        each = left / (len(columns) - index)
        if column > each:
            return each
        left -= column
    return max(columns, default=0.0)


class Glossary(Flowable):
    """Terms in bold on the left and what they mean on the right, in as many lines as that takes."""

    def __init__(self, sheet: Sheet, entries: Sequence[tuple[Printable, Printable]]) -> None:
        """Accept terms with their meanings; a word that is longer than its line is cut."""
        super().__init__()
        self._sheet = sheet
        self._terms = sheet.width * _TERM_SHARE
        self._entries = [
            (
                tuple(
                    fit(line, sheet.fonts.bold, _GLOSSARY_SIZE, self._terms - _BESIDE)
                    for line in wrapped(term, sheet.fonts.bold, _GLOSSARY_SIZE, self._terms - _BESIDE)
                ),
                wrapped(meaning, sheet.fonts.regular, _GLOSSARY_SIZE, sheet.width - self._terms),
            )
            for term, meaning in entries
        ]

    def wrap(self, aW: float, aH: float) -> tuple[float, float]:  # noqa: ARG002, N803 - reportlab's signature
        """Take the page's width and a fixed height per line."""
        return self._sheet.width, sum(map(self._height, self._entries))

    def split(self, aW: float, aH: float) -> list[Flowable]:  # noqa: ARG002, N803
        """Break between two terms."""
        left, fits = aH, 0
        while fits < len(self._entries) and (left := left - self._height(self._entries[fits])) >= 0:
            fits += 1
        if not fits:
            return []
        parts = [copy(self), copy(self)]
        parts[0]._entries, parts[1]._entries = self._entries[:fits], self._entries[fits:]
        parts[1].__dict__.pop("_postponed", None)
        return list(parts)

    def draw(self) -> None:
        """Draw the terms and their lines."""
        canvas, fonts = self.canv, self._sheet.fonts
        canvas.setFillColor(INK)
        y = self.wrap(0, 0)[1]
        for entry in self._entries:
            for x, font, lines in zip((0, self._terms), (fonts.bold, fonts.regular), entry, strict=True):
                for index, line in enumerate(lines):
                    draw(canvas, (x, y - _GLOSSARY_SIZE - index * _GLOSSARY_LINE), line, font, _GLOSSARY_SIZE)
            y -= self._height(entry)

    @staticmethod
    def _height(entry: tuple[Sequence[Printable], Sequence[Printable]]) -> float:
        return max(map(len, entry)) * _GLOSSARY_LINE + _GLOSSARY_GAP


def placed(
    sheet: Sheet,
    rows: Sequence[Sequence[Flowable]],
    columns: Sequence[float],
    *,
    padding: tuple[float, float, float, float] = (0, 0, 0, 0),
    background: Color | None = None,
) -> Table:
    """Return flowables placed in a grid; ``padding`` is that of each cell: left, right, top, bottom."""
    table = Table([list(row) for row in rows], colWidths=list(columns), hAlign="LEFT")
    names = ("LEFTPADDING", "RIGHTPADDING", "TOPPADDING", "BOTTOMPADDING")
    commands: list[Any] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        # Without it every cell selects Helvetica, which isn't embedded.
        ("FONT", (0, 0), (-1, -1), sheet.fonts.regular),
        *((name, (0, 0), (-1, -1), space) for name, space in zip(names, padding, strict=True)),
    ]
    if background is not None:
        commands.append(("BACKGROUND", (0, 0), (-1, -1), background))
    table.setStyle(TableStyle(commands))
    return table
