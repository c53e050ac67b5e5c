"""Workbooks, CSV and JSON: the document's figures as numbers, and no text that is a formula."""

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any
from zipfile import ZipFile

import openpyxl
import pytest

from analytics_pipeline.metrics.revenue import Unconverted
from analytics_pipeline.reports.catalogue import SECTION_NAMES, sections_of
from analytics_pipeline.reports.csv_files import render_csv
from analytics_pipeline.reports.json_text import render_json
from analytics_pipeline.reports.printed_text import ELLIPSIS
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.sections.alerts import ALERTS
from analytics_pipeline.reports.sections.crypto import VOLUMES
from analytics_pipeline.reports.tabular import Kind, Table
from analytics_pipeline.reports.workbook import render_workbook
from analytics_pipeline_tests.reports import samples

HOSTILE = [
    samples.FORMULA,
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1+1",
    "\uff0b1+1",
    "\uff0d1+1",
    "\uff20SUM(A1)",
    "\t1",
    "\r1",
    "\n1",
    " =1+1",
    "\u00a0=1+1",
    "\ufeff=1+1",
    "\u200b\u3000+1",
    "\v-1",
    "\x00@SUM(A1)",
    "\ufe0f=1",
]
HARMLESS = [
    "<b>&amp;",
    " plain",
    "a=b",
    "(+1)",
    "\ufeffmarked",
    "",
    "\x00\x1b",
]
RENDERERS: list[Callable[[Report], bytes]] = [
    lambda report: render_workbook(report, SECTION_NAMES),
    lambda report: render_csv(report, SECTION_NAMES)[0],
    lambda report: render_json(report, SECTION_NAMES),
]


def hostile_report() -> Report:
    report = samples.golden(None)
    events = [replace(report.events[0], event_type=name) for name in (*HOSTILE, *HARMLESS)]
    alerts = [replace(report[ALERTS][0], company=name, value=name) for name in (*HOSTILE, *HARMLESS)]
    return samples.with_part(replace(report, events=events), ALERTS, alerts)


def bought(quantity: Decimal) -> Report:
    report = samples.golden()
    return samples.with_part(report, VOLUMES, [replace(report[VOLUMES][0], quantity=quantity)])


def sheets(report: Report) -> dict[str, list[tuple[Any, ...]]]:
    workbook = openpyxl.load_workbook(BytesIO(render_workbook(report, SECTION_NAMES)))
    return {sheet.title: list(sheet.iter_rows()) for sheet in workbook.worksheets}


def files(report: Report) -> Iterator[tuple[str, list[list[str]]]]:
    content, suffix = render_csv(report, SECTION_NAMES)
    assert suffix == ".zip"
    with ZipFile(BytesIO(content)) as archive:
        for name in archive.namelist():
            yield name, list(csv.reader(StringIO(archive.read(name).decode("utf-8-sig"), newline="")))


@pytest.mark.parametrize("render", RENDERERS)
def test_the_same_report_gives_the_same_bytes(render: Callable[[Report], bytes]) -> None:
    assert render(samples.golden()) == render(samples.golden())


@pytest.mark.parametrize("render", RENDERERS[:2])
def test_no_entry_of_an_archive_is_dated_by_the_clock(render: Callable[[Report], bytes]) -> None:
    with ZipFile(BytesIO(render(samples.golden()))) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


@pytest.mark.parametrize("render", RENDERERS)
@pytest.mark.parametrize("report", [samples.empty(), samples.many_currencies(1), hostile_report()])
def test_any_report_can_be_exported(render: Callable[[Report], bytes], report: Report) -> None:
    assert render(report)


class TestWorkbook:
    def test_numbers_are_numbers_and_dates_are_dates(self) -> None:
        found = sheets(samples.golden())
        headline = {row[0].value: row for row in found["Headline figures"]}
        months = found["Revenue by month, EUR"]

        assert headline["Total revenue, EUR"][1].value == 15_000
        assert headline["Total revenue, EUR"][1].number_format == "#,##0.00"
        assert headline["Total revenue, EUR"][3].value == pytest.approx(0.155)
        assert headline["Total revenue, EUR"][3].number_format == "#,##0.0%"
        assert headline["Active users"][1].number_format == "#,##0"
        assert months[-1][0].value == datetime(2026, 1, 1)  # noqa: DTZ001 - as a workbook has it
        assert months[-1][0].number_format == "mmm yyyy"

    def test_no_text_is_a_formula(self) -> None:
        cells = [cell for rows in sheets(hostile_report()).values() for row in rows for cell in row]

        assert samples.FORMULA in [cell.value for cell in cells]
        assert {cell.data_type for cell in cells} <= {"s", "n", "d"}

    def test_more_digits_than_excel_keeps_are_written_as_text(self) -> None:
        found = sheets(bought(Decimal("1234567890.12345678")))

        assert found["Crypto volumes"][1][3].value == "1234567890.12345678"

    @pytest.mark.parametrize(
        ("quantity", "written"),
        [
            ("20000000", 20_000_000),
            ("1234567.12345678", 1234567.12345678),
            ("12345678.12345678", "12345678.12345678"),
            ("1234567890123400", 1234567890123400),
        ],
    )
    def test_zeros_at_the_end_are_none_of_the_fifteen_digits(self, quantity: str, written: float | str) -> None:
        found = sheets(bought(Decimal(quantity)))
        cell = found["Crypto volumes"][1][3]

        assert cell.value == written
        assert cell.number_format == ("@" if isinstance(written, str) else "#,##0.00000000")

    def test_a_text_longer_than_a_cell_holds_is_cut(self) -> None:
        report = samples.golden()
        found = sheets(replace(report, events=[replace(report.events[0], event_type="x" * 40_000)]))

        assert found["Top events"][1][0].value == "x" * 32_766 + ELLIPSIS

    def test_it_is_dated_by_its_data(self) -> None:
        properties = openpyxl.load_workbook(BytesIO(render_workbook(samples.golden(), ["crypto"]))).properties

        assert properties.created == properties.modified == samples.DATA_THROUGH.replace(tzinfo=None)

    @pytest.mark.slow
    def test_five_thousand_rows(self) -> None:
        rows = sheets(samples.many_currencies(5_000))["Revenue by original currency"]

        assert len(rows) == 5_001
        assert {row[6].value for row in rows[1:]} == {10}

    def test_what_was_made_of_what_is_on_the_first_sheet(self) -> None:
        first = {row[0].value: row[1].value for row in sheets(samples.golden(samples.FORMULA))["Report"]}

        assert first["Company"] == samples.FORMULA
        assert first["Definitions version"] == samples.VERSION
        assert first["Data through (UTC)"] == datetime(2026, 2, 1, 6, 30)  # noqa: DTZ001


class TestCsv:
    def test_a_single_table_is_a_file_of_exact_numbers(self) -> None:
        content, suffix = render_csv(samples.golden(), ["crypto"])
        rows = list(csv.DictReader(StringIO(content.decode("utf-8-sig"), newline="")))

        assert suffix == ".csv"
        assert rows[0] == {
            "ticker": "BTC",
            "eventType": "crypto.received",
            "transactions": "1",
            "quantity": "0.00012345",
            "converted": "7.41",
        }
        assert rows[1]["converted"] == ""

    def test_negative_numbers_stay_numbers_and_formulas_become_text(self) -> None:
        tables = dict(files(hostile_report()))
        movements = {row[0]: row[2] for row in tables["mrrMovements.csv"]}
        report = replace(hostile_report(), movements=replace(hostile_report().movements, fx=Decimal(-3)))
        moved = {row[0]: row[2] for row in dict(files(report))["mrrMovements.csv"]}
        events = [row[0] for row in tables["topEvents.csv"][1:]]

        assert (movements["churn"], moved["fx"]) == ("163.00", "-3.00")
        assert events == [*(f"'{name}" for name in HOSTILE), *HARMLESS]

    @pytest.mark.parametrize("section", SECTION_NAMES)
    def test_what_kind_of_file_it_is_does_not_depend_on_the_data(self, section: str) -> None:
        missing = [Unconverted("totalRevenue", "JPY", Decimal(5000), date(2026, 1, 4), date(2026, 1, 9))]
        reports = [samples.golden(), samples.golden(None), samples.golden(unconverted=missing), samples.empty()]

        assert len({render_csv(report, [section])[1] for report in reports}) == 1

    def test_the_archive_says_what_it_is_about(self) -> None:
        about = dict(row for row in dict(files(samples.golden("=evil")))["about.csv"])

        assert about["companyId"] == "'=evil"
        assert about["startDate"] == "2026-01-01"
        assert about["provisional"] == "false"


class TestJson:
    def test_exact_numbers_are_text_under_the_names_of_the_answers(self) -> None:
        report = json.loads(render_json(samples.golden(), SECTION_NAMES))
        headline = {row["name"]: row for row in report["sections"]["headline"]["headline"]}

        assert (report["companyId"], report["dataThrough"]) == ("acme", "2026-02-01T06:30:00Z")
        assert (headline["totalRevenue"]["value"], headline["totalRevenue"]["changePercent"]) == ("15000.00", "15.5")
        assert headline["activeUsers"]["value"] == 85
        assert report["sections"]["revenue"]["revenueByMonth"][-1]["month"] == "2026-01"
        assert list(report["sections"]) == list(SECTION_NAMES)

    def test_the_bridge_adds_up(self) -> None:
        report = json.loads(render_json(samples.golden(), ["mrr"]))
        amounts = {row["name"]: Decimal(row["amount"]) for row in report["sections"]["mrr"]["mrrMovements"]}
        end = amounts.pop("end")

        assert [str(amounts[name]) for name in ("contraction", "churn", "rounding")] == ["90.34", "163.00", "0.00"]
        assert sum(amounts.values()) - 2 * (amounts["contraction"] + amounts["churn"]) == end


def test_names_of_tables_and_columns_are_unique() -> None:
    tables: list[Table] = [t for section in sections_of(SECTION_NAMES) for t in section.tables(samples.golden())]

    assert len({table.key for table in tables}) == len({table.title for table in tables}) == len(tables)
    for table in tables:
        assert len({column.key for column in table.columns}) == len(table.columns)
        assert any(column.kind is not Kind.NAME for column in table.columns)
        assert all(len(row) == len(table.columns) for row in table.rows)
