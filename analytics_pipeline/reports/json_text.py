"""A report as JSON: exact numbers as text, as in the answers of ``metrics``."""

import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from analytics_pipeline.reports.catalogue import sections_of
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.tabular import Kind, Table, Value


def render_json(report: Report, sections: Iterable[str]) -> bytes:
    """Return the report as one JSON object: what it is about, and each section's tables as lists of rows."""
    content = {
        **about(report),
        "sections": {
            section.name: {table.key: _rows(table) for table in section.tables(report)}
            for section in sections_of(sections)
        },
    }
    return json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace") + b"\n"


def about(report: Report) -> dict[str, str | bool | int | None]:
    """Return what a report says of itself, under the names of the answers."""
    return {
        "companyId": report.company_id,
        "companyName": None if report.company_id is None else report.company,
        "startDate": f"{report.window.first_day:%Y-%m-%d}",
        "endDate": f"{report.window.last_day:%Y-%m-%d}",
        "timeZone": report.time_zone,
        "currency": report.currency,
        "asOf": instant_text(report.as_of),
        "dataThrough": None if report.data_through is None else instant_text(report.data_through),
        "provisional": report.provisional,
        "definitionsVersion": report.definitions_version,
    }


def plain_value(value: Value, kind: Kind) -> str | int | None:
    """Return a cell for a program: exact numbers as text, days, months and instants (UTC) in ISO form."""
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return instant_text(value)
        case date():
            return f"{value:%Y-%m}" if kind is Kind.MONTH else f"{value:%Y-%m-%d}"
        case _:
            return value


def instant_text(instant: datetime) -> str:
    """Return an aware instant in UTC, to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _rows(table: Table) -> list[dict[str, Any]]:
    return [
        {column.key: plain_value(value, column.kind) for column, value in zip(table.columns, row, strict=True)}
        for row in table.rows
    ]
