"""One history of refunds, contraction, churn and amounts that end on half a cent: every format says the same of it."""

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZipFile

import openpyxl
import pytest
from pypdf import PdfReader

from analytics_pipeline.alerts.alert_check import evaluate_window
from analytics_pipeline.database import migrate
from analytics_pipeline.metrics.answers import movements_answer, revenue_answer, series_answer
from analytics_pipeline.metrics.revenue import revenue_by_currency
from analytics_pipeline.metrics.tables import METRIC_TABLES, MRR_MOVEMENTS, REVENUE_METRICS, close_metric
from analytics_pipeline.reports.catalogue import SECTION_NAMES, parts_of
from analytics_pipeline.reports.csv_files import render_csv
from analytics_pipeline.reports.headlines import headline_figures
from analytics_pipeline.reports.json_text import render_json
from analytics_pipeline.reports.load import load_report
from analytics_pipeline.reports.report import Report
from analytics_pipeline.reports.workbook import render_workbook
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity
from analytics_pipeline_tests.alerts.sample_rules import rule
from analytics_pipeline_tests.conftest import Database, empty_database, set_environment
from analytics_pipeline_tests.events_factory import add_event, at
from analytics_pipeline_tests.metrics.closing import close_inputs
from analytics_pipeline_tests.reports import samples
from analytics_pipeline_tests.reports.ledger import BOTH, JANUARY

pytestmark = pytest.mark.slow

MINUS = "\u2212"
COMPANIES = ("acme", "globex", "initech")
# Half a cent goes to the even cent: 40.005, 30.005 and 1.005 lose it, and so does 60.00 nothing.
MOVEMENTS = {
    "start": "130.01",
    "new": "0.00",
    "reactivation": "0.00",
    "expansion": "0.00",
    "contraction": "40.00",
    "churn": "30.00",
    "fx": "0.00",
    "rounding": "-0.01",
    "end": "60.00",
}


@pytest.fixture(scope="module")
def history(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Two closed months of three companies."""
    with pytest.MonkeyPatch.context() as environment, empty_database(embedded_home) as url:
        set_environment(environment, url, embedded_home, tmp_path_factory.mktemp("history"))
        migrate()
        database = Database(url, get_settings())
        with database.connect(autocommit=True) as connection:
            _subscribe(connection, "2025-12-10T09:00", "started", "s1", "ann", "100.005", "active")
            _subscribe(connection, "2025-12-11T09:00", "started", "s2", "bob", "30.005", "active")
            _subscribe(connection, "2026-01-09T09:00", "changed", "s1", "ann", "60", "active")
            _subscribe(connection, "2026-01-12T09:00", "ended", "s2", "bob", "0", "ended")
            add_event(connection, "2026-01-05T09:00", value="55.565")
            add_event(connection, "2026-01-07T09:00", "payment.refunded", value="-1.005")
            for company in COMPANIES[1:]:
                add_event(connection, "2026-01-05T09:00", company_id=company, value="5.565")
            close_inputs(connection, BOTH)
            for table in METRIC_TABLES:
                close_metric(connection, table, Granularity.MONTH, BOTH, "EUR")
        yield database
    get_settings.cache_clear()


@pytest.fixture
def connection(history: Database) -> Iterator[Connection]:
    with history.connect(autocommit=True) as connection:
        yield connection


def _subscribe(
    connection: Connection, when: str, what: str, subscription: str, user: str, price: str, status: str
) -> None:
    metadata = {"subscription_id": subscription, "interval": "month", "interval_count": 1, "quantity": 1}
    connection.execute(
        'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, '
        "currency, metadata) VALUES (%s, %s, 'acme', %s, %s, 'subscription', %s, 'EUR', %s)",
        [uuid4(), at(when), user, f"subscription.{what}", Decimal(price), json.dumps({**metadata, "status": status})],
    )


def load(connection: Connection, company: str | None) -> Report:
    return load_report(connection, company, JANUARY, "EUR", parts_of(SECTION_NAMES))


def in_json(report: Report) -> dict[str, list[dict[str, Any]]]:
    sections = json.loads(render_json(report, SECTION_NAMES))["sections"]
    return {table: rows for section in sections.values() for table, rows in section.items()}


def in_csv(report: Report) -> dict[str, list[dict[str, str]]]:
    with ZipFile(BytesIO(render_csv(report, SECTION_NAMES)[0])) as archive:
        return {
            name.removesuffix(".csv"): list(csv.DictReader(StringIO(archive.read(name).decode("utf-8-sig"))))
            for name in archive.namelist()
        }


def in_workbook(report: Report) -> dict[str, list[list[object]]]:
    workbook = openpyxl.load_workbook(BytesIO(render_workbook(report, SECTION_NAMES)))
    return {sheet.title: [[cell.value for cell in row] for row in sheet.iter_rows()] for sheet in workbook.worksheets}


def on_pages(report: Report) -> str:
    pages = PdfReader(BytesIO(samples.pdf_of(report).content)).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def test_losses_are_positive_in_sql_and_in_the_answers(connection: Connection) -> None:
    answer = revenue_answer(connection, "acme", JANUARY, "EUR")
    assert (str(answer["refunds"]), str(answer["totalRevenue"])) == ("1.00", "54.56")
    assert {name: f"{amount}" for name, amount in answer["mrrMovements"].items()} == MOVEMENTS
    moved = movements_answer(connection, "acme", JANUARY, "EUR")
    assert {name: f"{moved[name]}" for name in MOVEMENTS} == MOVEMENTS
    series = series_answer(connection, "acme", BOTH, "EUR", Granularity.MONTH)["series"]
    assert [str(month["refunds"]) for month in series] == ["0.00", "1.00"]
    of_months = "WHERE company_id = 'acme' AND granularity = 'month' ORDER BY period_start"
    exact = f"SELECT refunds FROM analytics_revenue_metrics {of_months}"
    assert connection.execute(exact).fetchall() == [(0,), (Decimal("1.005"),)]
    exact = f"SELECT contraction, churn FROM analytics_mrr_movements {of_months}"
    assert connection.execute(exact).fetchall() == [(0, 0), (Decimal("40.005"), Decimal("30.005"))]
    assert [row.refunds for row in revenue_by_currency(connection, "acme", JANUARY)] == [Decimal("1.005")]


def test_the_rounded_views_show_what_the_answers_show(connection: Connection) -> None:
    for company in COMPANIES:
        answer = revenue_answer(connection, company, JANUARY, "EUR")
        columns = "total_revenue, refunds, mrr, arr, invoiced, average_revenue_per_user, revenue_growth"
        fields = ("totalRevenue", "refunds", "mrr", "arr", "invoiced", "averageRevenuePerUser", "revenueGrowth")
        row = fetch_row(
            connection,
            f"SELECT {columns} FROM analytics_revenue_metrics_rounded WHERE company_id = %s AND period_start = %s",
            [company, JANUARY.start],
        )
        assert [str(value) for value in row] == [str(answer[field]) for field in fields]
    names = ", ".join({"start": "start_mrr", "end": "end_mrr"}.get(name, name) for name in MOVEMENTS)
    query = f"SELECT {names} FROM analytics_mrr_movements_rounded WHERE company_id = 'acme' AND period_start = %s"
    row = fetch_row(connection, query, [JANUARY.start])
    assert dict(zip(MOVEMENTS, map(str, row), strict=True)) == MOVEMENTS


def test_losses_are_positive_in_every_file_and_a_page_prints_a_minus_before_them(connection: Connection) -> None:
    report = load(connection, "acme")
    for rows in (in_json(report), in_csv(report)):
        assert {row["name"]: row["amount"] for row in rows["mrrMovements"]} == MOVEMENTS
        headline = {row["name"]: row["value"] for row in rows["headline"]}
        assert (headline["refunds"], headline["totalRevenue"]) == ("1.00", "54.56")
        assert [row["refunds"] for row in (*rows["refundsByCurrency"], *rows["refundsByDay"])] == ["1.00", "1.00"]
        assert rows["revenueByMonth"][-1]["refunds"] == "1.00"
    sheets = in_workbook(report)
    assert [row[1] for row in sheets["From start to end, EUR"][1:]] == [float(a) for a in MOVEMENTS.values()]
    assert {row[0]: row[1] for row in sheets["Headline figures"]}["Refunds, EUR"] == 1
    pages = on_pages(report)
    assert f"Contraction {MINUS}40.00 Churn {MINUS}30.00 Rates of exchange 0.00 Rounding {MINUS}0.01" in pages
    assert "Refunds, EUR 1.00" in pages
    # What a mail and the metadata in Dagster say.
    assert {figure.label: figure.value for figure in headline_figures(report)}["Refunds, EUR"] == "1.00"


def test_what_moved_is_said_in_the_same_digits_in_every_format(connection: Connection) -> None:
    report = load(connection, "acme")
    said = {
        # 55.565 less 1.005, which the answer shows as 54.56.
        "revenue": "Revenue was 54.56 EUR, after 0.00 EUR in the month before.",
        "mrr": f"MRR fell by 53.8%, from 130.01 to 60.00 EUR: contraction 40.00 and churn 30.00; rounding {MINUS}0.01.",
        "customers": "1 customer left, none came back and none was new; "
        "1 was paying at the end, 2 at the end of the month before.",
    }
    pages = on_pages(report)
    for rows in (in_json(report), in_csv(report)):
        assert {row["name"]: row["sentence"] for row in rows["summary"]} == said
        months = {row["month"]: {name: row[name] for name in MOVEMENTS} for row in rows["mrrMovementsByMonth"]}
        assert months["2026-01"] == MOVEMENTS
        assert (months["2025-12"]["new"], months["2025-12"]["rounding"]) == ("130.01", "0.00")
    sheets = in_workbook(report)
    assert sheets["What moved"][1:] == [[sentence] for sentence in said.values()]
    assert sheets["What moved MRR by month, EUR"][-1][1:] == [float(amount) for amount in MOVEMENTS.values()]
    assert all(sentence in pages for sentence in said.values())
    assert f"January 2026 130.01 0.00 0.00 0.00 {MINUS}40.00 {MINUS}30.00 0.00 {MINUS}0.01 60.00" in pages


def test_losses_are_positive_in_alerts(connection: Connection) -> None:
    def told(metric: str) -> str:
        judged = rule(metric=metric, company="acme", comparison="above", value="0 EUR")
        table = REVENUE_METRICS if metric == "refunds" else MRR_MOVEMENTS
        (judgement,) = evaluate_window(connection, table, Granularity.MONTH, JANUARY, [judged])
        assert judgement.fires
        return judgement.shown

    assert [told(metric) for metric in ("refunds", "contraction", "churn")] == ["1.00 EUR", "40.00 EUR", "30.00 EUR"]


def test_a_company_has_the_same_digits_among_the_others_as_in_its_own_answer(connection: Connection) -> None:
    report = load(connection, None)
    answers = {company: revenue_answer(connection, company, JANUARY, "EUR") for company in COMPANIES}
    revenues = {company: f"{answer['totalRevenue']}" for company, answer in answers.items()}
    assert revenues == {"acme": "54.56", "globex": "5.56", "initech": "5.56"}
    for rows in (in_json(report), in_csv(report)):
        assert {row["companyId"]: row["totalRevenue"] for row in rows["companies"]} == revenues
        assert {row["companyId"]: row["mrr"] for row in rows["companies"]} == {
            company: f"{answer['mrr']}" for company, answer in answers.items()
        }
    listed = {row[0]: row[1] for row in in_workbook(report)["Companies"][1:]}
    assert listed == {company: float(revenue) for company, revenue in revenues.items()}
    # 54.56 + 5.56 + 5.56 misses the total by a cent, which a line holds.
    pages = on_pages(report)
    assert "globex 5.56" in pages
    assert "initech 5.56" in pages
    assert "Rounding 0.01" in pages
    assert "All companies 65.69" in pages
    assert revenue_answer(connection, None, JANUARY, "EUR")["totalRevenue"] == Decimal("65.69")
