"""A report as an Excel workbook: a sheet per table, numbers as numbers, dates as dates, text never as a formula."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from io import BytesIO
from typing import Any

from analytics_pipeline.currencies import PRECISION
from analytics_pipeline.folders import temporary_folder, writing_to_temporary
from analytics_pipeline.languages.wording import message
from analytics_pipeline.locales import DEFAULT_LOCALE
from analytics_pipeline.reports.catalogue import sections_of
from analytics_pipeline.reports.formats import Formats
from analytics_pipeline.reports.printed_text import plain
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Column, Kind, Table, Value, text

# Excel keeps fifteen digits of a number: a longer one would be silently changed, and is written as text instead.
_MAX_DIGITS = 15
_MAX_SHEET_NAME = 31
_MAX_TEXT = 32_767
_WIDTHS = {
    Kind.TEXT: 28,
    Kind.NUMBER: 16,
    Kind.PERCENT: 12,
    Kind.CHANGE: 12,
    Kind.DAY: 12,
    Kind.MONTH: 12,
    Kind.INSTANT: 20,
}
_DATES = {Kind.DAY: "yyyy-mm-dd", Kind.MONTH: "mmm yyyy", Kind.INSTANT: "yyyy-mm-dd hh:mm:ss"}


def render_workbook(report: Report, sections: Iterable[str], locale: str = DEFAULT_LOCALE) -> bytes:
    """Return the workbook in the language of the locale; equal input gives equal bytes. Instants are in UTC.

    A spreadsheet writes numbers and dates in the notation of whoever opens it.

    Raises ``FolderError`` where the temporary folder has no room for it.
    """
    import xlsxwriter  # type: ignore[import-untyped]

    target, say = BytesIO(), Formats(locale).say
    with temporary_folder("analytics-workbook-") as folder, writing_to_temporary():
        # Rows go to a file as they are written: a long table takes no memory.
        options = {
            "constant_memory": True,
            "tmpdir": str(folder),
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        with xlsxwriter.Workbook(target, options) as workbook:
            workbook.set_properties(
                {
                    "title": plain(say(message("Report: {company}", company=report.company))),
                    "author": "analytics_pipeline",
                    "created": _created(report),
                }
            )
            writer = _Writer(workbook, say)
            writer.write(_about(report), with_head=False)
            for section in sections_of(sections):
                for table in section.tables(report):
                    writer.write(table.for_people())
    return target.getvalue()


def _created(report: Report) -> datetime:
    """Return the document's date: the data's, not the clock's, so that equal data gives equal bytes."""
    return (report.data_through or report.window.end).astimezone(UTC).replace(tzinfo=None)


def _about(report: Report) -> Table:
    rows: list[tuple[str, Value]] = [
        (message("Company"), report.company),
        (message("First day"), report.window.first_day),
        (message("Last day"), report.window.last_day),
        (message("Time zone"), report.time_zone),
        (message("Currency"), report.currency),
        (message("Data through (UTC)"), report.data_through),
        (message("Provisional"), message("yes") if report.provisional else message("no")),
        (message("Definitions version"), report.definitions_version),
    ]
    return Table("about", message("Report"), (text("name", message("Name")), text("value", message("Value"))), rows)


class _Writer:
    """Writes tables into sheets of a workbook."""

    def __init__(self, workbook: Any, say: Callable[[str], str]) -> None:
        self._workbook = workbook
        self._say = say
        self._formats: dict[tuple[str, bool], Any] = {}
        self._names: set[str] = set()

    def write(self, table: Table, *, with_head: bool = True) -> None:
        sheet = self._workbook.add_worksheet(self._sheet_name(self._say(table.title)))
        titles = [self._say(column.title) for column in table.columns]
        for index, (column, title) in enumerate(zip(table.columns, titles, strict=True)):
            sheet.set_column(index, index, max(_WIDTHS[column.kind], len(title) + 2))
        first = 0
        if with_head:
            for index, title in enumerate(titles):
                sheet.write_string(0, index, title, self._format("@", bold=True))
            sheet.freeze_panes(1, 0)
            first = 1
        for number, row in enumerate(table.rows, first):
            for index, (column, value) in enumerate(zip(table.columns, row, strict=True)):
                self._write_cell(sheet, number, index, column, value)

    def _write_cell(self, sheet: Any, row: int, index: int, column: Column, value: Value) -> None:
        match value:
            case None:
                return
            case str():
                sheet.write_string(row, index, plain(self._say(value), limit=_MAX_TEXT))
            case datetime():
                sheet.write_datetime(row, index, value.astimezone(UTC).replace(tzinfo=None), self._date(Kind.INSTANT))
            case date():
                sheet.write_datetime(row, index, value, self._date(column.kind if column.kind in _DATES else Kind.DAY))
            case _:
                self._write_number(sheet, row, index, column, Decimal(value))

    def _write_number(self, sheet: Any, row: int, index: int, column: Column, value: Decimal) -> None:
        digits = max(-int(value.as_tuple().exponent), 0)
        pattern = "#,##0" + (f".{'0' * digits}" if digits else "")
        with localcontext(prec=PRECISION):
            significant, fraction = value.normalize().as_tuple().digits, value / 100
        if len(significant) > _MAX_DIGITS:
            sheet.write_string(row, index, f"{value:f}", self._format("@", bold=False))
        elif column.kind in {Kind.PERCENT, Kind.CHANGE}:
            sheet.write_number(row, index, float(fraction), self._format(f"{pattern}%", bold=False))
        else:
            sheet.write_number(row, index, float(value), self._format(pattern, bold=False))

    def _date(self, kind: Kind) -> Any:
        return self._format(_DATES[kind], bold=False)

    def _format(self, pattern: str, *, bold: bool) -> Any:
        if (pattern, bold) not in self._formats:
            self._formats[pattern, bold] = self._workbook.add_format({"num_format": pattern, "bold": bold})
        return self._formats[pattern, bold]

    def _sheet_name(self, title: str) -> str:
        """Return the title as a sheet's name: at most 31 characters, none of ``[]:*?/\\``, no name twice."""
        name = "".join(character for character in title if character not in "[]:*?/\\")[:_MAX_SHEET_NAME]
        if name in self._names:
            raise ValueError(f"two tables of a report are called {name!r}")
        self._names.add(name)
        return name
