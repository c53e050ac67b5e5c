"""Tables of figures break well, repeat their head and never cut a digit."""

from datetime import UTC, datetime
from io import BytesIO

from pypdf import PdfReader

from analytics_pipeline.reports.layout import Frontispiece, Sheet, render
from analytics_pipeline.reports.tables import figures_table
from analytics_pipeline.reports.text import Printable


def render_table(sheet: Sheet, rows: list[list[Printable]]) -> list[str]:
    show = sheet.proof.printable
    table = figures_table(sheet, [show("Event"), show("Amount")], rows, [0.5, 0.5])
    front = Frontispiece("T", "S", show("left"), show("right"), show("foot"), datetime(2026, 1, 1, tzinfo=UTC))
    pdf, _ = render([table], sheet, front, "A4")
    return [page.extract_text() for page in PdfReader(BytesIO(pdf)).pages]


def test_the_head_repeats_over_five_thousand_rows(sheet: Sheet) -> None:
    show = sheet.proof.printable
    pages = render_table(sheet, [[show(f"event-{row}"), show(str(row))] for row in range(5_000)])

    assert len(pages) > 90
    assert all("Event" in page and "Amount" in page for page in pages)
    assert "event-4999" in pages[-1]


def test_a_table_without_rows_is_its_head(sheet: Sheet) -> None:
    (page,) = render_table(sheet, [])

    assert "Amount" in page


def test_a_figure_wider_than_its_column_is_whole(sheet: Sheet) -> None:
    figure = sheet.proof.printable("1" * 150)
    (page,) = render_table(sheet, [[sheet.proof.printable("row"), figure]])

    assert figure in page
