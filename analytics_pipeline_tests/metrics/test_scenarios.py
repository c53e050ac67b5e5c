"""Every scenario of DEFINITIONS.md, from a file of events to the answer of the command.

Asked twice: before anything is closed, when the answers come from the events, and after every day and month is.
"""

import json
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analytics_pipeline.cli import main
from analytics_pipeline.currencies import round_money, round_rate
from analytics_pipeline.health.check_result import CheckResult, State
from analytics_pipeline.health.checks import all_checks, run_check
from analytics_pipeline.health.metrics import amounts_converted
from analytics_pipeline.metrics.revenue import MrrMovements, revenue_by_currency
from analytics_pipeline.metrics.rounding import round_movements
from analytics_pipeline.metrics.tables import METRIC_TABLES, REVENUE_METRICS, MetricTable, close_metric
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window
from analytics_pipeline_tests.conftest import Database
from analytics_pipeline_tests.events.sample_records import json_lines
from analytics_pipeline_tests.metrics.closing import close_inputs, days
from analytics_pipeline_tests.metrics.scenarios import RATES, SCENARIOS, Question, Scenario, as_lines, payment

pytestmark = pytest.mark.slow

CLOSED = days("2025-12-01", "2026-06-30")
# Of the days, some that scenarios ask for; all months.
CLOSED_DAYS = [days("2026-01-23", "2026-01-24"), days("2026-03-15", "2026-03-16"), days("2026-05-10", "2026-05-12")]
AMOUNTS = {
    "total_revenue": "totalRevenue",
    "mrr": "mrr",
    "arr": "arr",
    "average_revenue_per_user": "averageRevenuePerUser",
    "invoiced": "invoiced",
    "refunds": "refunds",
    "arpa": "arpa",
}
MOVED = ("start_mrr", "new", "reactivation", "expansion", "contraction", "churn", "fx", "end_mrr")
ADDED_UP = ("total_revenue", "mrr", "invoiced", "refunds")

MARCH = ("2026-03-01", "2026-03-31")
JANUARY = ("2026-01-01", "2026-01-31")

ASKED = [(scenario.company, question) for scenario in SCENARIOS for question in scenario.questions]
Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Answers:
    """What the command said before and after closing, and what the tables would have held, and hold."""

    live: dict[tuple[str, Question], dict[str, Any]]
    closed: dict[tuple[str, Question], dict[str, Any]]
    live_rows: Rows
    stored_rows: Rows


def call(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def ask(company: str, question: Question) -> dict[str, Any]:
    # One of the scenarios is a company without events.
    scope = ("--company", company, "--allow-unknown", "--start", question.start, "--end", question.end)
    return call("metrics", question.command, *scope)


def _window(question: Question) -> Window:
    return days(question.start, question.end)


def _periods() -> list[list[Window]]:
    return [list(CLOSED.split(Granularity.MONTH)), *(list(window.split(Granularity.DAY)) for window in CLOSED_DAYS)]


def ingest(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text)
    return call("ingest", str(path))


@pytest.fixture(scope="module")
def answers(shared: Connection, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("scenarios")
    (folder / "rates.csv").write_text(RATES)
    assert call("fx", "load", str(folder / "rates.csv"))["new"] == RATES.count("\n") - 1
    for scenario in SCENARIOS:
        summary = ingest(folder / f"{scenario.company}.jsonl", as_lines(scenario))
        assert (summary["new"], summary["rejected"]) == (len(scenario.events), 0)
    live, live_rows = {asked: ask(*asked) for asked in ASKED}, _rows(shared, "{}_rows(%s, %s, %s, 'UTC', 'EUR', 3)")
    close_inputs(shared, CLOSED)
    for table in METRIC_TABLES:
        close_metric(shared, table, Granularity.MONTH, CLOSED, "EUR")
        for window in CLOSED_DAYS:
            close_metric(shared, table, Granularity.DAY, window, "EUR")
    closed_rows = _rows(shared, "{} WHERE granularity = %s AND period_date >= %s AND period_date < %s")
    return Answers(live, {asked: ask(*asked) for asked in ASKED}, live_rows, closed_rows)


def _rows(connection: Connection, relation: str) -> Rows:
    """Return the rows of every metric table, or what its function gives, by company and period."""
    rows: Rows = {}
    for table in METRIC_TABLES:
        columns = ", ".join(name for name in table.columns if name not in ("computed_at", "period_date"))
        for granularity, windows in ((Granularity.MONTH, [CLOSED]), (Granularity.DAY, CLOSED_DAYS)):
            rows[f"{table.metric} {granularity}"] = [
                row
                for window in windows
                for row in connection.execute(
                    f"SELECT {columns} FROM {relation.format(table.table)} ORDER BY period_start, company_id",
                    [str(granularity), window.start.date(), window.end.date()],
                ).fetchall()
            ]
    return rows


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked[0]}: {asked[1]}")
def test_the_command_answers_as_defined_from_events_and_from_what_is_closed(
    answers: Answers, asked: tuple[str, Question]
) -> None:
    for answer in (answers.live[asked], answers.closed[asked]):
        expected = asked[1].expected
        assert {name: answer[name] for name in expected} == dict(expected)
    assert answers.closed[asked] == answers.live[asked]


def test_every_answer_says_how_far_the_whole_data_set_reaches(answers: Answers) -> None:
    newest = max(raw["timestamp"] for scenario in SCENARIOS for raw in scenario.events)
    assert {answer["dataThrough"] for each in (answers.live, answers.closed) for answer in each.values()} == {newest}


def test_the_answers_have_the_defined_fields_and_no_others(answers: Answers) -> None:
    headline = {q.command: answers.live[company, q] for company, q in ASKED if company == "headline"}
    assert list(headline["revenue"]) == [
        *("mrr", "arr", "totalRevenue", "averageRevenuePerUser", "revenueGrowth", "currency"),
        *("companyId", "startDate", "endDate", "timeZone", "asOf", "dataThrough", "provisional"),
        *("invoiced", "refunds", "payingCustomers", "arpa", "mrrMovements"),
        *("grossMrrChurnRate", "netMrrChurnRate", "grossRevenueRetention", "netRevenueRetention", "quickRatio"),
        *("newCustomers", "returnedCustomers", "lostCustomers", "customerChurnRate", "arpaGrowth", "lifetimeValue"),
        *("totalRevenueYearOverYear", "mrrYearOverYear", "unconverted", "definitionsVersion"),
    ]
    assert list(headline["users"])[:6] == [
        *("totalUsers", "activeUsers", "newUsers", "churnedUsers", "churnRate", "activeUserRate"),
    ]
    assert set(headline["users"]) - set(list(headline["users"])[:6]) == {
        *("usersAtStart", "activeBefore", "churnRateOfStart", "companyId", "startDate", "endDate", "timeZone", "asOf"),
        *("dataThrough", "provisional", "definitionsVersion"),
    }
    assert list(headline["revenue"]["mrrMovements"]) == [
        *("start", "new", "reactivation", "expansion", "contraction", "churn", "fx", "rounding", "end"),
    ]


def test_the_tables_hold_what_the_events_gave(answers: Answers) -> None:
    assert {name: len(rows) for name, rows in answers.stored_rows.items()} == {
        name: len(rows) for name, rows in answers.live_rows.items()
    }
    assert answers.stored_rows == answers.live_rows
    assert all(answers.stored_rows.values())


@pytest.mark.parametrize(
    "asked",
    [(c, q) for c, q in ASKED if q.command == "revenue" and any(_window(q) in d for d in _periods()) and c != "nobody"],
    ids=lambda asked: f"{asked[0]}: {asked[1]}",
)
def test_one_figure_on_all_channels(answers: Answers, shared: Connection, asked: tuple[str, Question]) -> None:
    """The rows of the tables, rounded, are the command's answer, and the report's series is its revenue."""
    company, question = asked
    window, answer = _window(question), answers.closed[asked]
    granularity = Granularity.MONTH if window.is_aligned(Granularity.MONTH) else Granularity.DAY
    row = _stored(
        shared, METRIC_TABLES[0], (*AMOUNTS, "revenue_growth", "paying_customers"), company, granularity, window
    )
    assert row is not None
    *amounts, growth, customers = row
    assert [None if amount is None else str(round_money(amount, "EUR")) for amount in amounts] == [
        answer[field] for field in AMOUNTS.values()
    ]
    assert answer["revenueGrowth"] == (None if growth is None else str(round_rate(growth)))
    assert answer["payingCustomers"] == customers
    # Nothing moved, nothing stored.
    row = _stored(shared, METRIC_TABLES[1], MOVED, company, granularity, window) or (Decimal(0),) * len(MOVED)
    shown = round_movements(MrrMovements(*row), "EUR")
    assert {name: str(figure) for name, figure in asdict(shown).items()} == answer["mrrMovements"]
    assert answer["mrrMovements"]["end"] == answer["mrr"]
    if granularity is Granularity.MONTH and company != "bitcoin":
        in_euro = [m.revenue for m in revenue_by_currency(shared, company, window) if m.currency == "EUR"]
        assert answer["totalRevenue"] == str(round_money(sum(in_euro, Decimal(0)), "EUR"))


def _stored(
    connection: Connection,
    table: MetricTable,
    columns: tuple[str, ...],
    company: str,
    granularity: Granularity,
    window: Window,
) -> tuple[Any, ...] | None:
    """Return a row of a metric table; a company without anything has none."""
    return connection.execute(
        f"SELECT {', '.join(columns)} FROM {table.table} "
        "WHERE company_id = %s AND granularity = %s AND period_start = %s AND period_end = %s",
        [company, str(granularity), window.start, window.end],
    ).fetchone()


def test_all_companies_together_are_the_sum_of_the_table(answers: Answers, shared: Connection) -> None:
    everyone = call("metrics", "revenue", "--start", JANUARY[0], "--end", JANUARY[1])
    sums = fetch_row(
        shared,
        f"SELECT {', '.join(f'sum({name})' for name in ADDED_UP)}, sum(paying_customers)::integer "
        "FROM analytics_revenue_metrics "
        "WHERE company_id IS NOT NULL AND granularity = 'month' AND period_start = '2026-01-01+00'",
    )
    expected = [str(round_money(amount, "EUR")) for amount in sums[:-1]] + [sums[-1]]
    assert [*(everyone[AMOUNTS[name]] for name in ADDED_UP), everyone["payingCustomers"]] == expected
    assert everyone["companyId"] is None


def test_an_amount_without_a_rate_fails_the_check_on_conversion(answers: Answers, shared_database: Database) -> None:
    with shared_database.connect(autocommit=True) as connection:

        def judged(day: str) -> CheckResult:
            settings = shared_database.settings
            return amounts_converted(
                connection, settings, "revenue_metrics", REVENUE_METRICS, Granularity.DAY, days(day)
            )

        assert judged("2026-05-10").state is State.ERROR
        assert "yen: totalRevenue of 5000 JPY" in judged("2026-05-10").summary
        assert "yen: revenueGrowth of 5000 JPY" in judged("2026-05-11").summary
        assert "yen" not in judged("2026-05-12").summary
        (gaps,) = [c for c in all_checks() if c.name == "rates_without_gaps"]
        assert "JPY 2026-05-10" in run_check(gaps, connection, shared_database.settings).summary


def test_bitcoin_is_stored_exactly(answers: Answers, shared: Connection) -> None:
    stored = shared.execute(
        "SELECT value::text, currency FROM analytics_events WHERE company_id = 'bitcoin'"
    ).fetchall()
    assert stored == [("0.00012345", "BTC")]
    month = _stored(shared, METRIC_TABLES[0], ("total_revenue",), "bitcoin", Granularity.MONTH, days(*MARCH))
    assert month == (Decimal("7.407"),)


def test_a_late_payment_counts_once_however_often_it_arrives(
    answers: Answers, shared: Connection, tmp_path: Path
) -> None:
    """A payment of 31 January arrives after January is closed, and then the same event again."""
    late = Scenario("late", (payment("01-10", "100"), payment("01-31 23:30", "11.50")), ())
    on_time, too_late = ({**raw, "company_id": late.company} for raw in late.events)

    def january() -> tuple[str, str]:
        question = Question("revenue", *JANUARY, {})
        return ask("late", question)["totalRevenue"], ask("late", Question("revenue", "2026-02-01", "2026-02-28", {}))[
            "totalRevenue"
        ]

    ingest(tmp_path / "on_time.jsonl", json_lines([on_time]))
    _close_january(shared)
    assert january() == ("100.00", "0.00")
    for new in (1, 0):
        assert ingest(tmp_path / "late.jsonl", json_lines([too_late, too_late]))["new"] == new
        _close_january(shared)
        assert january() == ("111.50", "0.00")
    row = _stored(shared, METRIC_TABLES[0], ("total_revenue",), "late", Granularity.MONTH, days(*JANUARY))
    assert row == (Decimal("111.50"),)


def _close_january(connection: Connection) -> None:
    close_inputs(connection, days(*JANUARY))
    close_metric(connection, METRIC_TABLES[0], Granularity.MONTH, days(*JANUARY), "EUR")
