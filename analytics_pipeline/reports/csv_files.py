"""A report as CSV: one table as a file, several as a ZIP archive of files.

Numbers are plain and exact. Text that a spreadsheet would take for a formula begins with an apostrophe, as OWASP
advises: a company may be called ``=cmd|...``.
"""

import csv
import unicodedata
from collections.abc import Iterable
from io import BytesIO, StringIO
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from analytics_pipeline.reports.catalogue import sections_of
from analytics_pipeline.reports.json_text import about, plain_value
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Table, Value, text

# The full-width forms too: some spreadsheets take them for the same.
_FORMULA_SIGNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
_BREAKS = ("\t", "\r", "\n")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


def render_csv(report: Report, sections: Iterable[str]) -> tuple[bytes, str]:
    """Return the file and its suffix: ``.csv`` for a single table, else ``.zip``; equal input gives equal bytes."""
    tables = [table for section in sections_of(sections) for table in section.tables(report)]
    if len(tables) == 1:
        return _file(tables[0]), ".csv"
    archive = BytesIO()
    with ZipFile(archive, "w", ZIP_DEFLATED) as target:
        for table in (_about(report), *tables):
            entry = ZipInfo(f"{table.key}.csv", _EPOCH)
            entry.compress_type = ZIP_DEFLATED
            entry.external_attr = _READABLE
            target.writestr(entry, _file(table))
    return archive.getvalue(), ".zip"


def _about(report: Report) -> Table:
    rows = [
        (name, None if value is None else str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in about(report).items()
    ]
    return Table("about", "About this report", (text("name", "Name"), text("value", "Value")), rows)


def _file(table: Table) -> bytes:
    """Return the table in UTF-8; the mark at its beginning is for spreadsheets."""
    target = StringIO()
    writer = csv.writer(target, lineterminator="\r\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows(
        [_cell(value, plain_value(value, column.kind)) for column, value in zip(table.columns, row, strict=True)]
        for row in table.rows
    )
    return target.getvalue().encode("utf-8-sig", "backslashreplace")


def _cell(value: Value, plain: str | int | None) -> str | int | None:
    if isinstance(value, str) and _may_be_formula(value):
        return f"'{value}"
    return plain


def _may_be_formula(value: str) -> bool:
    """Say whether a spreadsheet may take it for a formula, which some look for behind blanks and invisible marks."""
    first = next((character for character in value if unicodedata.category(character)[0] not in "CMZ"), "")
    return first in _FORMULA_SIGNS or value.startswith(_BREAKS)
