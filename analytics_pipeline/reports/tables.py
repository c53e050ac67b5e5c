"""Tables of figures, and the invisible tables that place flowables side by side.

Belongs here: how a table looks and breaks. Figures have a head that repeats on every page, words on the left,
digits aligned on the right.
Does not belong here: which rows and figures a table holds.
"""

from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import Color
from reportlab.platypus import Flowable, Table, TableStyle

from analytics_pipeline.reports.layout import ACCENT, HAIRLINE, INK, MUTED, TINT, Sheet
from analytics_pipeline.reports.text import Printable, width

_SIZE = 8.5
_PADDING = 4.0
_ROW = 14.5


def figures_table(
    sheet: Sheet,
    head: Sequence[Printable],
    rows: Sequence[Sequence[Printable]],
    shares: Sequence[float],
    *,
    emphasised: int | None = None,
    total: bool = False,
) -> Table:
    """Return a table as wide as the page whose columns take ``shares`` of it.

    The first column is words, the rest are figures. ``emphasised`` is the row (from 0) that the report is
    about; ``total`` sets the last row apart as a sum. Digits are never cut: a table with longer figures than
    its columns hold is set smaller.
    """
    columns = [share / sum(shares) * sheet.width for share in shares]
    size = _size(sheet, [head, *rows], columns)
    commands: list[Any] = [
        ("FONT", (0, 0), (-1, -1), sheet.fonts.regular, size, size * 1.2),
        ("TEXTCOLOR", (0, 0), (-1, -1), INK),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LEFTPADDING", (0, 0), (-1, -1), _PADDING),
        ("RIGHTPADDING", (0, 0), (-1, -1), _PADDING),
        ("TOPPADDING", (0, 0), (-1, -1), 0),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
        ("FONT", (0, 0), (-1, 0), sheet.fonts.bold, size * 0.9, size * 1.1),
        ("TEXTCOLOR", (0, 0), (-1, 0), MUTED),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, ACCENT),
        ("LINEBELOW", (0, 1), (-1, -1), 0.4, HAIRLINE),
    ]
    if emphasised is not None:
        commands += [
            ("FONT", (0, emphasised + 1), (-1, emphasised + 1), sheet.fonts.bold, size, size * 1.2),
            ("BACKGROUND", (0, emphasised + 1), (-1, emphasised + 1), TINT),
        ]
    if total:
        commands += [("LINEABOVE", (0, -1), (-1, -1), 0.8, INK), ("LINEBELOW", (0, -1), (-1, -1), 0, TINT)]
    table = Table(
        [list(head), *(list(row) for row in rows)],
        colWidths=columns,
        rowHeights=[_ROW] * (len(rows) + 1),
        repeatRows=1,
    )
    table.setStyle(TableStyle(commands))
    return table


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


def _size(sheet: Sheet, rows: Sequence[Sequence[Printable]], columns: Sequence[float]) -> float:
    """Return the font size at which every cell fits its column, measured in bold to be safe."""
    fits = (
        (column - 2 * _PADDING) / width(cell, sheet.fonts.bold, 1)
        for row in rows
        for cell, column in zip(row, columns, strict=True)
        if cell
    )
    return min(_SIZE, *fits, _SIZE)
