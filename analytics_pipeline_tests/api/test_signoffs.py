"""Months are signed off over HTTP by tokens that may, each for its own company, and are shown to that one alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.timescale.audit import list_acts
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.api.conftest import ANYBODY, HEADLINE, OTHER, Served, new_token
from analytics_pipeline_tests.messages.documents import publish
from analytics_pipeline_tests.metrics.closing import days
from analytics_pipeline_tests.metrics.signable import note_closed

FEBRUARY = days("2026-02-01", "2026-02-28")
MONTH = "2026-02"
PERIOD = "startDate=2026-02-01&endDate=2026-02-28"


@pytest.fixture
def closed(served: Served) -> Iterator[Connection]:
    """February as Dagster has closed it, with documents of the two companies, and of all together."""
    with served.database.connect(autocommit=True) as connection:
        note_closed(connection, FEBRUARY)
        for company in (None, HEADLINE.company, OTHER):
            publish(connection, company, period=MONTH, definitions_version=3, content=f"%PDF {company}".encode())
        yield connection
        for table in ("signoffs", "report_documents", "partitions"):
            connection.execute(f"DELETE FROM analytics_{table}".encode())


def signing(served: Served, company: str | None) -> dict[str, str]:
    """Return the headers of a new token that may sign."""
    return {"Authorization": f"Bearer {new_token(served.database, company, Scope.FIGURES, Scope.SIGN)[1]}"}


def post(served: Served, headers: dict[str, str], path: str = "", **body: object) -> Any:
    return served.client.post(f"/analytics/signoffs{path}", json={"month": MONTH, **body}, headers=headers)


def answer(served: Served, headers: dict[str, str], more: str = "") -> dict[str, Any]:
    response = served.client.get(f"/analytics/signoffs?{PERIOD}{more}", headers=headers)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.mark.slow
def test_a_token_signs_its_own_company_alone_and_only_with_the_scope(served: Served, closed: Connection) -> None:
    without = {"Authorization": f"Bearer {new_token(served.database, HEADLINE.company, Scope.FIGURES)[1]}"}
    assert post(served, without, signedBy="Ann").status_code == 403
    assert answer(served, without)["maySign"] is False

    own = signing(served, HEADLINE.company)
    assert post(served, own, signedBy="Ann", companyId=OTHER).status_code == 404
    assert answer(served, own) == {**answer(served, own), "maySign": True, "signoffs": []}
    made = post(served, own, signedBy="Ann")
    assert (made.status_code, made.json()) == (201, {"month": MONTH, "companies": [HEADLINE.company]})
    (signed,) = answer(served, own)["signoffs"]
    assert (signed["companyId"], signed["signedBy"], signed["restatements"]) == (HEADLINE.company, "Ann", [])
    assert signed["document"]["isCurrent"] is True
    assert list_acts(closed, act="period.sign", limit=1)[0].actor.startswith("api t")

    again = post(served, own, signedBy="Ann")
    assert (again.status_code, again.json()["title"]) == (409, "Conflict")
    assert "it is signed already: withdraw that first" in again.json()["detail"]

    # An operator signs the others, and all together; the other company has no figures, and is not signed.
    operator = signing(served, None)
    assert post(served, operator, signedBy="Bob").json()["companies"] == [None]
    assert [row["companyId"] for row in answer(served, operator)["signoffs"]] == [None, HEADLINE.company]
    withdrawn = post(served, own, "/withdrawals", withdrawnBy="Ann", reason="invoice 7")
    assert (withdrawn.status_code, withdrawn.json()["companies"]) == (201, [HEADLINE.company])
    assert [row["companyId"] for row in answer(served, operator)["signoffs"]] == [None]
    assert post(served, own, "/withdrawals", withdrawnBy="Ann", reason="twice").status_code == 409


def test_what_is_signed_and_restated_is_shown_to_its_own_company_alone(served: Served, closed: Connection) -> None:
    # As if it was computed again since.
    closed.execute(
        "INSERT INTO analytics_signoffs (company_id, period, period_start, period_end, signed_by, signed_at, "
        "figures_at, definitions_version, currency, document_id, document_sha256) "
        "SELECT company_id, period, %s, %s, 'Zoe', '2026-03-01Z', now(), 3, 'EUR', document_id, sha256 "
        "FROM analytics_report_documents WHERE company_id = %s",
        [FEBRUARY.start, FEBRUARY.end, OTHER],
    )
    closed.execute(
        "INSERT INTO analytics_signed_figures (signoff_id, metric, figure, unit, place, value) "
        "SELECT signoff_id, 'revenue_metrics', 'total_revenue', 'money', 0, 777.77 FROM analytics_signoffs"
    )
    (shown,) = answer(served, served.headers(OTHER), "&numbers=string")["signoffs"]
    assert shown["restatements"] == [
        {
            "figure": "totalRevenue",
            "label": "Total revenue",
            "unit": "money",
            "before": "777.77",
            "after": None,
            "difference": None,
        }
    ]
    assert [row["companyId"] for row in answer(served, served.headers("operator"))["signoffs"]] == [OTHER]
    assert answer(served, served.headers())["signoffs"] == []
    assert answer(served, served.headers(ANYBODY))["signoffs"] == []


def test_a_month_that_can_t_be_signed_and_bad_input_are_one_sentence(served: Served) -> None:
    own = signing(served, HEADLINE.company)
    refused = served.client.post("/analytics/signoffs", json={"month": "2199-12", "signedBy": "Ann"}, headers=own)
    assert (refused.status_code, refused.json()["detail"]) == (409, "2199-12 can't be signed off: it is not over.")
    for body in ({"month": "2026-13"}, {"signedBy": "\u0000"}, {"signedBy": ""}, {"by": "Ann"}):
        response = post(served, own, **{"signedBy": "Ann", **body})
        assert response.status_code == 422, response.text
