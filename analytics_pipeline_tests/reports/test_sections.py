"""A section is one module and one line, and costs one statement however many companies are reported on."""

import re
from io import BytesIO
from pathlib import Path
from textwrap import dedent
from typing import Any, cast

import psycopg
import pytest
from pypdf import PdfReader

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports import catalogue, sections
from analytics_pipeline.reports.catalogue import SECTION_NAMES, parts_of, sections_of
from analytics_pipeline.reports.json_text import render_json
from analytics_pipeline.reports.load import load_company_reports, load_report
from analytics_pipeline.reports.order import ReportOrder
from analytics_pipeline.reports.publish import load_order
from analytics_pipeline.reports.render import render_report
from analytics_pipeline.reports.report_parts import ReportPart
from analytics_pipeline.sql_files import queries
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.calendars import EUROS
from analytics_pipeline_tests.reports.ledger import COMPANIES, JANUARY, ODD_DAYS

pytestmark = pytest.mark.slow

NAME = "events-by-hour"
# What the report over all companies, and those of every company, are read in, however many companies there are.
MAX_STATEMENTS = 46


class _Counting(psycopg.Cursor[Any]):
    """A cursor that notes what it executes."""

    executed: list[str]

    def execute(self, query: Any, *arguments: Any, **options: Any) -> "_Counting":
        self.executed.append(str(query))
        super().execute(query, *arguments, **options)
        return self


@pytest.fixture
def executed(connection: Connection) -> list[str]:
    """The statements of the connection, noted as they are executed."""
    noted: list[str] = []
    connection.cursor_factory = type("Counting", (_Counting,), {"executed": noted})
    return noted


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Add the section that the documentation adds, its module, its query and its line, for one test."""
    recipe = Path("docs/how-to.md").read_text().partition("## Add a section to the reports")[2].partition("\n## ")[0]
    module, query = (dedent(_block(recipe, language)) for language in ("python", "sql"))
    (file,) = re.findall(r"This is `(\w+\.py)`", recipe)
    (tmp_path / file).write_text(module)
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    head, _, statement = query.partition("\n")
    monkeypatch.setitem(cast("dict[str, str]", queries()), head.removeprefix("-- name: "), statement)
    (line,) = re.findall(r'`"([\w-]+)",`', recipe)
    monkeypatch.setattr(catalogue, "SECTION_NAMES", (*SECTION_NAMES, line))
    return str(line)


def _block(text: str, language: str) -> str:
    (found,) = re.findall(rf"^ +```{language}\n(.*?)^ +```", text, re.MULTILINE | re.DOTALL)
    return str(found)


def test_the_line_of_a_section_is_its_name() -> None:
    assert [section.name for section in sections_of(SECTION_NAMES)] == list(SECTION_NAMES)


def test_a_section_is_added_by_one_module_its_query_and_one_line(connection: Connection, added: str) -> None:
    assert added == NAME
    for company in (*COMPANIES, None):
        order = ReportOrder(company_id=company, start_date=JANUARY.start.date(), end_date=JANUARY.last_day)
        accepted = order.accept(EUROS)
        assert accepted.sections[-1] == NAME
        report = load_order(connection, accepted)
        (table,) = catalogue.sections_of([NAME])[0].tables(report)
        assert sum(cast("list[int]", table.column("events"))) == report.all_events > 0
        assert '"events-by-hour": {' in render_json(report, accepted.sections).decode()
        pages = PdfReader(BytesIO(render_report(report, accepted).content)).pages
        assert "Events by hour" in " ".join(page.extract_text() for page in pages[-2:])


def test_without_its_line_there_is_no_such_section() -> None:
    with pytest.raises(AnalyticsError, match=f"There is no section '{NAME}': choose from headline"):
        ReportOrder(sections=(NAME,))


def test_reports_are_read_in_few_statements_and_a_section_adds_one(
    connection: Connection, executed: list[str], added: str
) -> None:
    for window in (JANUARY, ODD_DAYS):
        for read in (load_company_reports, lambda c, *rest: [load_report(c, None, *rest)]):
            counts = []
            for names in (SECTION_NAMES, (*SECTION_NAMES, added)):
                executed.clear()
                reports = read(connection, window, "EUR", parts_of(names))
                counts.append(len(executed))
            assert len(reports) in {1, len(COMPANIES)}
            assert counts[1] == counts[0] + 1
            assert counts[0] <= MAX_STATEMENTS, executed


def test_a_section_that_asks_for_nothing_more_costs_nothing_more(connection: Connection, executed: list[str]) -> None:
    load_report(connection, None, JANUARY, "EUR", parts_of(["headline"]))
    alone = len(executed)
    executed.clear()
    load_report(connection, None, JANUARY, "EUR", parts_of(["headline", "top-events", "definitions"]))
    assert len(executed) == alone
    assert not [query for query in executed if "analytics_crypto" in query]


def test_a_report_without_what_a_section_needs_is_refused() -> None:
    part: ReportPart[int] = ReportPart("a thing", lambda _: {}, 0)
    assert samples.golden().get(part) is None
    with pytest.raises(ValueError, match="loaded without a thing"):
        _ = samples.golden()[part]
