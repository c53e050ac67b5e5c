"""Tables of figures break well, repeat their head and never cut a digit."""

from datetime import UTC, datetime
from io import BytesIO

import pytest
from pypdf import PdfReader

from analytics_pipeline.reports.layout import Sheet, TitlePage, render
from analytics_pipeline.reports.pdf_tables import FiguresTable, Head
from analytics_pipeline.reports.printed_text import ELLIPSIS, Printable
from analytics_pipeline_tests.reports import samples


def table_of(
    sheet: Sheet, rows: list[list[str]], total: list[str] | None = None, marked: int | None = None
) -> FiguresTable:
    show = sheet.proof.printable
    heads = [Head(show("Event"), is_text=True), Head(show("Amount"), is_text=False)]
    shown: list[list[Printable]] = [[show(cell, limit=500) for cell in row] for row in rows]
    sum_of_all = None if total is None else [show(cell) for cell in total]
    return FiguresTable(sheet, heads, shown, total=sum_of_all, marked=marked)


def pdf_of(sheet: Sheet, table: FiguresTable) -> bytes:
    show = sheet.proof.printable
    front = TitlePage("T", "S", show("left"), show("right"), show("foot"), datetime(2026, 1, 1, tzinfo=UTC))
    return render([table], sheet, front, "A4")[0]


def pages_of(sheet: Sheet, table: FiguresTable) -> list[str]:
    return [page.extract_text() for page in PdfReader(BytesIO(pdf_of(sheet, table))).pages]


@pytest.mark.slow
def test_the_head_repeats_over_five_thousand_rows(sheet: Sheet) -> None:
    rows = [[f"event-{row}", str(row)] for row in range(5_000)]
    pages = pages_of(sheet, table_of(sheet, rows, ["Sum", "12497500"]))

    assert len(pages) > 90
    assert all("Event" in page and "Amount" in page for page in pages)
    assert "event-4999" in pages[-1]
    assert all("Sum" not in page for page in pages[:-1])
    assert "12497500" in pages[-1]


@pytest.mark.parametrize("count", range(44, 51))
def test_the_sum_never_stands_alone(sheet: Sheet, count: int) -> None:
    pages = pages_of(sheet, table_of(sheet, [[f"event-{row}", str(row)] for row in range(count)], ["Sum", "1"]))

    assert f"event-{count - 1}" in pages[-1]
    assert "Sum" in pages[-1]


@pytest.mark.parametrize(("marked", "page"), [(0, 0), (40, 0), (59, 1), (None, None)])
def test_the_marked_row_alone_is_bold_on_whichever_page_it_stands(
    sheet: Sheet, marked: int | None, page: int | None
) -> None:
    table = table_of(sheet, [[f"event-{row}", str(row)] for row in range(60)], marked=marked)
    pages = samples.bold_lines(pdf_of(sheet, table))

    assert len(pages) == 2
    for number, lines in enumerate(pages):
        assert lines == ["Event Amount", *([f"event-{marked} {marked}"] if number == page else [])]


def test_a_table_without_rows_is_its_head(sheet: Sheet) -> None:
    (page,) = pages_of(sheet, table_of(sheet, []))

    assert "Amount" in page


def test_a_figure_wider_than_its_column_is_whole(sheet: Sheet) -> None:
    (page,) = pages_of(sheet, table_of(sheet, [["row", "1" * 150]]))

    assert "1" * 150 in page


def test_words_give_way_to_figures(sheet: Sheet) -> None:
    (page,) = pages_of(sheet, table_of(sheet, [["W" * 300, "1" * 60]]))

    assert "1" * 60 in page
    assert ELLIPSIS in page
