"""Reports over HTTP: the documents of a company, addresses that open one of them, and reports that are asked for."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from analytics_pipeline.messages.recipients import add_recipient, list_recipients
from analytics_pipeline.messages.unsubscribing import unsubscribe_address
from analytics_pipeline.reports.document_links import document_address
from analytics_pipeline.reports.monthly import publish_company_months, publish_platform_month
from analytics_pipeline.reports.requests import meet
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline_tests.api.conftest import ANYBODY, HEADLINE, OTHER, Served

pytestmark = pytest.mark.slow

Documents = dict[str | None, dict[str, Any]]


@pytest.fixture(scope="module")
def documents(served: Served) -> Documents:
    """The documents of March 2026 by company, as an operator's list shows them."""
    with served.database.connect(autocommit=True) as connection:
        list(publish_company_months(connection, served.database.settings, date(2026, 3, 1)))
        publish_platform_month(connection, served.database.settings, date(2026, 3, 1))
    listed = served.client.get("/analytics/reports", headers=served.headers("operator")).json()["reports"]
    return {document["companyId"]: document for document in listed}


def get(served: Served, address: str, whose: str = HEADLINE.company, **headers: str) -> Any:
    return served.client.get(address, headers={**served.headers(whose), **headers})


def test_a_company_sees_its_own_documents(served: Served, documents: Documents) -> None:
    listed = get(served, "/analytics/reports").json()["reports"]
    assert listed == [documents[HEADLINE.company]]
    assert {HEADLINE.company, OTHER, None} <= set(documents)
    (document,) = listed
    assert (document["period"], document["revision"], document["isCurrent"]) == ("2026-03", 1, True)


def test_a_document_comes_with_its_revision_and_checksum(served: Served, documents: Documents) -> None:
    document = documents[HEADLINE.company]
    address = f"/analytics/reports/{document['id']}"
    response = get(served, address)
    sha256 = document["files"]["pdf"]["sha256"]
    assert response.content.startswith(b"%PDF")
    assert (response.headers["content-type"], response.headers["etag"]) == ("application/pdf", f'"{sha256}"')
    assert response.headers["x-document-revision"] == "1"
    assert get(served, address, Accept="application/json").json() == document
    assert get(served, f"{address}?format=xlsx").status_code == 404


def test_documents_of_others_are_not_found(served: Served, documents: Documents) -> None:
    for whose in (OTHER, None):
        number = documents[whose]["id"]
        assert get(served, f"/analytics/reports/{number}").status_code == 404
        posted = served.client.post(f"/analytics/reports/{number}/address", headers=served.headers())
        assert posted.status_code == 404
        assert get(served, f"/analytics/reports/{number}", "operator").status_code == 200


def _forget_keys(connection: Connection) -> None:
    connection.execute("UPDATE analytics_document_keys SET expires_at = now()")


def test_an_address_opens_one_document_without_a_token_until_it_expires(served: Served, documents: Documents) -> None:
    document = documents[HEADLINE.company]
    made = served.client.post(f"/analytics/reports/{document['id']}/address", headers=served.headers()).json()
    address = made["url"].removeprefix(served.database.settings.serve_url)
    assert served.client.get(address).content == get(served, f"/analytics/reports/{document['id']}").content
    picture = served.client.get(f"{address}/first-page.png")
    assert (picture.headers["content-type"], picture.content[:4]) == ("image/png", b"\x89PNG")
    # The key is no token, and a token is no key.
    key = address.rpartition("/")[2]
    assert served.client.get("/analytics/users", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    assert served.client.get(f"/documents/{served.tokens[HEADLINE.company]}").status_code == 404
    assert served.client.get(f"{address[:-1]}_").status_code == 404
    with served.database.connect(autocommit=True) as connection:
        assert connection.execute("SELECT FROM analytics_document_keys WHERE name LIKE %s", [f"%{key}%"]).rowcount == 0
        _forget_keys(connection)
    for gone in (address, f"{address}/first-page.png"):
        assert served.client.get(gone).status_code == 404


def test_where_somebody_serves_the_store_documents_open_there(served: Served, documents: Documents) -> None:
    file = documents[HEADLINE.company]["files"]["pdf"]
    settings = served.database.settings.model_copy(update={"artifacts_url": "https://files.example.com"})
    with served.database.connect(autocommit=True) as connection:
        address = document_address(connection, settings, file["name"], file["sha256"])
    assert address == f"https://files.example.com/{file['name']}"


def test_a_report_that_was_asked_for_is_made_and_opened(served: Served) -> None:
    wanted = {"startDate": "2026-03-01", "endDate": "2026-03-15", "format": "csv", "sections": ["revenue"]}
    response = served.client.post("/analytics/reports", json=wanted, headers=served.headers())
    assert response.status_code == 202
    asked = response.json()
    assert (asked["state"], asked["companyId"], asked["currency"]) == ("requested", HEADLINE.company, "EUR")
    address = response.headers["location"]
    assert get(served, f"{address}/document").status_code == 404
    with served.database.connect(autocommit=True) as connection:
        meet(connection, served.database.settings, asked["id"], "run")
    done = get(served, address).json()
    document = get(served, f"{address}/document")
    assert (done["state"], document.headers["etag"]) == ("done", f'"{done["sha256"]}"')
    assert len(document.content) == done["size"]
    assert get(served, f"{address}/document", OTHER).status_code == 404
    # Where somebody else has written what became of it, there is nothing that can be opened.
    with served.database.connect(autocommit=True) as connection:
        connection.execute(
            "UPDATE analytics_report_requests SET uri = 's3://elsewhere/report' WHERE request_id = %s", [asked["id"]]
        )
    assert get(served, address).json()["state"] == "done"
    gone = get(served, f"{address}/document")
    assert (gone.status_code, "ask for the report again" in gone.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"sections": ["horoscope"]},
        {"format": "docx"},
        {"locale": "xx_YY"},
        {"pageSize": "A0"},
        {"currency": "XXQ"},
        {"startDate": "2099-01-01", "endDate": "2099-01-31"},
        {"startDate": "2026-03-31", "endDate": "2026-03-01"},
        {"reports": 1},
    ],
)
def test_a_report_that_can_not_be_made_is_refused_at_once(served: Served, changes: dict[str, object]) -> None:
    wanted = {"startDate": "2026-03-01", "endDate": "2026-03-31", **changes}
    response = served.client.post("/analytics/reports", json=wanted, headers=served.headers(ANYBODY))
    assert response.status_code == 422, response.text


def test_a_document_that_the_store_has_lost_is_not_found(served: Served, documents: Documents) -> None:
    file = Path(served.database.settings.artifacts_root) / documents[OTHER]["files"]["pdf"]["name"]
    kept = file.read_bytes()
    file.write_bytes(b"something else")
    try:
        assert get(served, f"/analytics/reports/{documents[OTHER]['id']}", OTHER).status_code == 404
    finally:
        file.write_bytes(kept)


def test_one_click_ends_the_reports_to_one_recipient(served: Served) -> None:
    with served.database.connect(autocommit=True) as connection:
        for address in ("anna@example.com", "bert@example.com"):
            add_recipient(connection, ANYBODY, "monthly_report", address)
        (key,) = fetch_row(
            connection,
            "SELECT unsubscribe_key FROM analytics_report_recipients WHERE company_id = %s AND address LIKE 'anna%%'",
            [ANYBODY],
        )

        def active() -> list[str]:
            return [each.address for each in list_recipients(connection, ANYBODY)]

        # Whatever looks at links in mails ends nothing.
        assert "<form" in served.client.get(f"/unsubscribe/{key}").text
        asked = {"Accept-Language": "fr, de-AT;q=0.9, en;q=0.5"}
        german = served.client.get(f"/unsubscribe/{key}", headers=asked).text
        assert '<html lang="de">' in german
        assert "<button>Abmelden</button>" in german
        assert active() == ["anna@example.com", "bert@example.com"]
        for _ in range(2):
            ended = served.client.post(f"/unsubscribe/{key}", data={"List-Unsubscribe": "One-Click"})
            assert ended.status_code == 200
        assert active() == ["bert@example.com"]
        assert served.client.post(f"/unsubscribe/{'0' * 64}").status_code == 404
    settings = served.database.settings
    assert unsubscribe_address(settings, key) is None
    public = settings.model_copy(update={"serve_url": "https://data.example.com"})
    assert unsubscribe_address(public, key) == f"https://data.example.com/unsubscribe/{key}"
