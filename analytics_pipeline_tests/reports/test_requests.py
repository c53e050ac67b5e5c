"""A request for a report ends as done or failed, and one run at a time is at it."""

from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics_pipeline.database import connect
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.reports.catalogue import SECTION_NAMES
from analytics_pipeline.reports.order import AcceptedOrder, ReportOrder
from analytics_pipeline.reports.publish import PublishedReport, publish_order
from analytics_pipeline.reports.requests import ReportRequest, fail, meet, open_requests, release
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.waiting import LockTimeoutError
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.reports.calendars import EUROS


def ask(connection: Connection, **columns: Any) -> ReportRequest:
    values = {"company_id": "acme", "start_date": date(2026, 1, 1), "end_date": date(2026, 1, 31), **columns}
    names = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    connection.execute(f"INSERT INTO analytics_report_requests ({names}) VALUES ({marks})", list(values.values()))
    return open_requests(connection, 1_000)[-1]


def row_of(connection: Connection, request: ReportRequest) -> tuple[Any, ...]:
    query = "SELECT state, run_id, uri, problem FROM analytics_report_requests WHERE request_id = %s"
    return fetch_row(connection, query, [request.request_id])


def order_of(request: ReportRequest, ledger: Database) -> AcceptedOrder:
    with ledger.connect() as connection:
        return request.accept(connection, ledger.settings, database_now(connection))


def test_a_request_says_what_it_orders(ledger: Database, connection: Connection) -> None:
    request = ask(
        connection, sections=["mrr", "users"], format="json", currency="USD", locale="de_CH", page_size="letter"
    )

    assert order_of(request, ledger) == ReportOrder(
        company_id="acme",
        start_date=date(2026, 1, 1),
        end_date=date(2026, 1, 31),
        currency="USD",
        sections=("users", "mrr"),
        format="json",
        locale="de_CH",
        page_size="letter",
    ).accept(EUROS)
    for nothing in (None, ""):
        assert order_of(ask(connection, currency=nothing), ledger).currency == "EUR"


def test_it_is_met_once_and_says_where_the_document_is(ledger: Database, connection: Connection) -> None:
    request = ask(connection, sections=["headline"], format="json")
    published = meet(connection, ledger.settings, request.request_id, "run 1")

    assert row_of(connection, request) == ("done", "run 1", published.uri, None)
    assert Path(published.path).exists()
    assert request.request_id not in [waiting.request_id for waiting in open_requests(connection, 1_000)]


def test_two_runs_are_not_at_one_request(ledger: Database, connection: Connection) -> None:
    request = ask(connection)
    connection.execute(
        "UPDATE analytics_report_requests SET state = 'running', run_id = 'run 1' WHERE request_id = %s",
        [request.request_id],
    )

    with pytest.raises(AnalyticsError, match="another run makes it"):
        meet(connection, ledger.settings, request.request_id, "run 2")
    assert row_of(connection, request)[:2] == ("running", "run 1")


def test_a_step_that_is_repeated_goes_on_with_its_own_request(
    ledger: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(connection, sections=["headline"], format="json")
    monkeypatch.setattr("analytics_pipeline.reports.requests.publish_order", _lose_the_connection)
    with pytest.raises(OSError, match="connection lost"):
        meet(connection, ledger.settings, request.request_id, "run 1")
    monkeypatch.undo()
    assert row_of(connection, request)[0] == "running"

    meet(connection, ledger.settings, request.request_id, "run 1")
    assert row_of(connection, request)[0] == "done"


def _lose_the_connection(*_: object) -> None:
    raise OSError("connection lost")


def test_what_cannot_be_stored_fails_with_the_reason(ledger: Database, connection: Connection, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("no folder")
    settings = Settings(artifacts=str(blocked))
    request = ask(connection, sections=["headline"], format="json")
    with pytest.raises(AnalyticsError, match="ANALYTICS_ARTIFACTS"):
        meet(connection, settings, request.request_id, "run 1")

    state, _, uri, problem = row_of(connection, request)
    assert (state, uri) == ("failed", None)
    assert "ANALYTICS_ARTIFACTS" in problem


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session")
def test_a_lock_that_somebody_else_holds_for_long_does_not_fail_a_request(
    ledger: Database, connection: Connection
) -> None:
    request = ask(connection, sections=["headline"], format="json")
    with ledger.connect() as other, connect(ledger.settings, autocommit=True, lock_timeout=1) as patient:
        other.execute("LOCK TABLE analytics_events IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LockTimeoutError):
            meet(patient, ledger.settings, request.request_id, "run 1")
    assert row_of(connection, request)[:2] == ("running", "run 1")
    meet(connection, ledger.settings, request.request_id, "run 1")
    assert row_of(connection, request)[0] == "done"


def test_what_nobody_knows_fails_a_request_with_the_reason(ledger: Database, connection: Connection) -> None:
    for columns, problem in (
        ({"company_id": "nobody"}, "No such company is known: 'nobody'"),
        ({"currency": "XXQ"}, "'XXQ' is unknown: it is no currency"),
    ):
        request = ask(connection, **columns)
        with pytest.raises(AnalyticsError, match=problem):
            meet(connection, ledger.settings, request.request_id, "run 1")
        state, _, uri, told = row_of(connection, request)
        assert (state, uri) == ("failed", None)
        assert told.startswith(problem)


def test_a_request_is_taken_back_from_a_run_that_is_over_unless_it_is_done(
    ledger: Database, connection: Connection
) -> None:
    request = ask(connection, sections=["headline"], format="json")
    assert release(connection, request)
    connection.execute(
        "UPDATE analytics_report_requests SET state = 'running', run_id = 'dead' WHERE request_id = %s",
        [request.request_id],
    )
    running = next(r for r in open_requests(connection, 1_000) if r.request_id == request.request_id)
    assert release(connection, running)
    assert row_of(connection, request)[:2] == ("requested", None)
    meet(connection, ledger.settings, request.request_id, "dead")
    assert not release(connection, running)
    fail(connection, request.request_id, "too late", "dead")
    assert row_of(connection, request)[0] == "done"
    with pytest.raises(AnalyticsError, match="is done"):
        meet(connection, ledger.settings, request.request_id, "run 2")


def test_what_is_asked_for_is_read_as_it_is_claimed(ledger: Database, connection: Connection) -> None:
    request = ask(connection, sections=["headline"], format="json")
    connection.execute(
        "UPDATE analytics_report_requests SET company_id = 'globex' WHERE request_id = %s", [request.request_id]
    )
    published = meet(connection, ledger.settings, request.request_id, "run 1")

    assert '"companyId": "globex"' in Path(published.path).read_text()


def test_a_run_that_lost_its_request_does_not_end_that_of_another(
    ledger: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(connection, sections=["headline"], format="json")

    def hand_over(*_: object) -> PublishedReport:
        connection.execute(
            "UPDATE analytics_report_requests SET run_id = 'run 2' WHERE request_id = %s", [request.request_id]
        )
        return made

    made = publish_order(connection, ledger.settings, order_of(request, ledger))
    monkeypatch.setattr("analytics_pipeline.reports.requests.publish_order", hand_over)
    with pytest.raises(AnalyticsError, match="given to another run"):
        meet(connection, ledger.settings, request.request_id, "run 1")
    fail(connection, request.request_id, "late news of run 1", "run 1")

    assert row_of(connection, request)[:2] == ("running", "run 2")


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_date": "infinity"},
        {"end_date": "9999-12-31"},
        {"start_date": "0044-03-15 BC"},
        {"start_date": "2026-02-01", "end_date": "2026-01-31"},
        {"sections": ["revenue", None]},
        {"sections": [["revenue"], ["mrr"]]},
        {"sections": ["x" * 2_000]},
        {"company_id": "x" * 201},
    ],
)
def test_a_row_that_nobody_could_read_is_refused_where_it_is_written(
    connection: Connection, wrong: dict[str, Any]
) -> None:
    with pytest.raises((psycopg.errors.CheckViolation, psycopg.errors.FeatureNotSupported)):
        ask(connection, **wrong)


def test_no_sections_are_all_of_them(ledger: Database, connection: Connection) -> None:
    assert order_of(ask(connection, company_id=None, sections=None), ledger).sections == SECTION_NAMES
