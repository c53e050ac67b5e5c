"""A company's token gives that company's figures, however another one is asked for, and says nothing of others."""

import gzip
import json
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import revoke_token
from analytics_pipeline.metrics.access import API
from analytics_pipeline_tests.api.conftest import ANYBODY, HEADLINE, OTHER, Served, new_token
from analytics_pipeline_tests.metrics.scenarios import payment

PERIOD = "startDate=2026-03-01&endDate=2026-03-31"
# Every route that answers with what belongs to a company.
ROUTES = [
    f"/analytics/{route}"
    for route in (
        "revenue",
        "users",
        "movements",
        "crypto",
        "events/top",
        "revenue/series",
        "users/series",
        "companies",
        "partitions",
        "signoffs",
        "reports",
        "reports/1",
        "reports/requests/1",
        "reports/requests/1/document",
    )
]
# What the other company has and nobody else: its name, its revenue.
SECRETS = (OTHER, "777.77")


def attempts() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield twenty ways to ask for another company: a query, and headers beside the token."""
    other = quote(OTHER)
    for query in (
        f"companyId={other}",
        f"companyId={HEADLINE.company}&companyId={other}",
        f"companyId={other}&companyId={HEADLINE.company}",
        f"company_id={other}",
        f"company={other}",
        f"CompanyId={other}",
        f"companyId[]={other}",
        f"companyId={HEADLINE.company},{other}",
        f"companyId={other}%00",
        f"companyId=%20{other}",
        f"companyId={other.upper()}",
        f"companyId={other}'%20OR%20'1'='1",
        "companyId=*",
        "companyId=%25",
        "companyId=",
        "companyId=null",
        f"currency=EUR')%3B%20SET%20analytics.company='{other}'%3B--",
    ):
        yield query, {}
    for name in ("X-Company-Id", "X-Tenant", "analytics.company"):
        yield "", {name: OTHER}


def test_there_are_twenty_ways_and_every_route_is_tried(served: Served) -> None:
    assert len(list(attempts())) == 20
    paths = served.client.get("/openapi.json").json()["paths"]
    answering = {path for path, methods in paths.items() if path.startswith("/analytics/") and "get" in methods}
    assert {re.sub(r"\{\w+\}", "1", path) for path in answering} == set(ROUTES)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.slow
def test_no_way_of_asking_shows_another_company(served: Served, route: str) -> None:
    for query, headers in attempts():
        address = f"{route}?{query}" if "reports" in route else f"{route}?{PERIOD}&{query}".rstrip("&")
        response = served.client.get(address, headers={**served.headers(), **headers})
        assert response.status_code < 500, (address, response.text)
        assert not any(secret in response.text for secret in SECRETS), (address, response.text)
        if response.headers["content-type"] == "application/json" and "companyId" in (answer := response.json()):
            assert answer["companyId"] in (HEADLINE.company, None), address


def test_a_company_that_is_not_there_and_one_that_is_somebody_else_s_look_the_same(served: Served) -> None:
    def refused(company: str) -> dict[str, Any]:
        response = served.client.get("/analytics/revenue", params={"companyId": company}, headers=served.headers())
        assert response.status_code == 404
        return {name: value for name, value in response.json().items() if name != "requestId"}

    assert refused(OTHER) == refused("nobody")


@pytest.mark.parametrize("route", ROUTES)
def test_a_name_that_no_company_can_have_is_not_found(served: Served, route: str) -> None:
    response = served.client.get(route, params={"companyId": "a\0b"}, headers=served.headers("operator"))
    assert (response.status_code, response.json()["detail"]) == (404, "No such company.")


def test_a_report_of_a_name_that_no_company_can_have_is_not_found(served: Served) -> None:
    wanted = {"companyId": "a\0b"}
    assert served.client.post("/analytics/reports", json=wanted, headers=served.headers("operator")).status_code == 404


def test_an_event_that_names_another_company_is_rejected(served: Served) -> None:
    event = {**payment("03-16", "1.00"), "company_id": OTHER}
    for body, packed in ((event, False), ([event], True)):
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **({"Content-Encoding": "gzip"} if packed else {})}
        response = served.client.post(
            "/analytics/events",
            content=gzip.compress(content) if packed else content,
            headers={**served.headers(ANYBODY), **headers},
        )
        assert (response.json()["stored"], response.json()["rejected"]) == (0, 1)
    answer = served.client.get(f"/analytics/revenue?{PERIOD}", headers=served.headers(OTHER)).json()
    assert answer["totalRevenue"] == 777.77


def test_an_event_id_of_another_company_is_not_told_apart_from_a_bad_one(served: Served) -> None:
    event = payment("03-17", "1.00")
    send = {"Content-Type": "application/json"}
    served.client.post("/analytics/events", json=event, headers={**served.headers(ANYBODY), **send})
    response = served.client.post("/analytics/events", json=event, headers={**served.headers(OTHER), **send})
    (record,) = response.json()["records"]
    assert record["outcome"] == "rejected"
    assert ANYBODY not in response.text


def test_a_report_of_another_company_can_not_be_asked_for(served: Served) -> None:
    wanted = {"startDate": "2026-03-01", "endDate": "2026-03-31", "companyId": OTHER}
    assert served.client.post("/analytics/reports", json=wanted, headers=served.headers()).status_code == 404


def test_a_request_of_another_company_is_not_found(served: Served) -> None:
    wanted = {"startDate": "2026-03-01", "endDate": "2026-03-31"}
    made = served.client.post("/analytics/reports", json=wanted, headers=served.headers(OTHER)).json()
    address = f"/analytics/reports/requests/{made['id']}"
    assert served.client.get(address, headers=served.headers(OTHER)).json()["companyId"] == OTHER
    assert served.client.get(address, headers=served.headers()).status_code == 404
    assert served.client.get(address, headers=served.headers("operator")).status_code == 200


def test_the_role_of_the_api_reads_no_table_and_no_figure_beyond_its_session(served: Served) -> None:
    with served.database.connect(autocommit=True) as connection, connection.transaction():
        connection.execute(f"SET LOCAL ROLE {API}")
        connection.execute(f"SET LOCAL search_path = {API}, public")
        connection.execute("SELECT set_config('analytics.company', %s, true)", [HEADLINE.company])
        for table in ("analytics_events", "analytics_users", "analytics_revenue_daily", "analytics_api_tokens"):
            assert_denied(connection, f"SELECT FROM {table}")
        for company in ("'zeta'", "NULL"):
            figures = f"ARRAY[ROW({company}, '2026-03-01', '2026-04-01', 'EUR', NULL)::analytics_figure_period]"
            assert_denied(connection, f"SELECT FROM analytics_revenue_figures({figures})")
            assert_denied(connection, f"SELECT FROM public.analytics_revenue_figures({figures})")
            assert_denied(connection, f"SELECT FROM analytics_top_events({company}, '2026-03-01', '2026-04-01', 5)")


def assert_denied(connection: psycopg.Connection[Any], query: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(query)


def asked(served: Served, token: str | bytes | None) -> Any:
    text = token.encode() if isinstance(token, str) else token
    headers = {} if text is None else {b"Authorization": b"Bearer " + text}
    return served.client.get("/analytics/users", headers=headers)


def test_tokens_that_are_none_get_no_answer(served: Served) -> None:
    good = served.tokens[HEADLINE.company]
    guesses = [None, "", "x", good[:-1], good + "A", good.swapcase(), "ap_", "null", "a.b.c", b"ap_\xe9", "x" * 9000]
    for guess in guesses:
        response = asked(served, guess)
        assert response.status_code == 401, guess
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"
    for header in (f"Basic {good}", good, f"bearer  {good}x"):
        assert served.client.get("/analytics/users", headers={"Authorization": header}).status_code == 401


def test_an_expired_token_gets_no_answer(served: Served) -> None:
    _, token = new_token(served.database, ANYBODY, valid_for=timedelta(0))
    assert asked(served, token).status_code == 401


def test_a_revoked_token_works_for_at_most_five_seconds_longer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    token_id, token = new_token(served.database, ANYBODY)
    first = asked(served, token)
    assert first.status_code == 200
    with served.database.connect(autocommit=True) as connection:
        assert revoke_token(connection, token_id)
    later = time.monotonic() + 5
    monkeypatch.setattr("analytics_pipeline.api.token_cache.time.monotonic", lambda: later)
    assert asked(served, token).status_code == 401
    # Nor does what it was given still serve it.
    replayed = {"Authorization": f"Bearer {token}", "If-None-Match": first.headers["etag"]}
    assert served.client.get("/analytics/users", headers=replayed).status_code == 401


def test_an_etag_given_to_one_company_answers_no_other(served: Served) -> None:
    etag = served.client.get(f"/analytics/users?{PERIOD}", headers=served.headers()).headers["etag"]
    for _ in range(2):
        mine = served.client.get(f"/analytics/users?{PERIOD}", headers={**served.headers(), "If-None-Match": etag})
        assert mine.status_code == 304
    others = {**served.headers(OTHER), "If-None-Match": etag}
    assert served.client.get(f"/analytics/users?{PERIOD}", headers=others).status_code == 200


def test_a_token_does_only_what_its_scopes_say(served: Served) -> None:
    _, token = new_token(served.database, ANYBODY, Scope.FIGURES)
    headers = {"Authorization": f"Bearer {token}"}
    assert asked(served, token).status_code == 200
    assert served.client.get("/analytics/reports", headers=headers).status_code == 403
    assert served.client.post("/analytics/events", json={}, headers=headers).status_code == 403


@pytest.mark.slow
def test_operators_ask_for_every_company_and_for_those_that_are_known(served: Served) -> None:
    def status(company: str) -> int:
        address = f"/analytics/revenue?{PERIOD}&companyId={company}"
        return int(served.client.get(address, headers=served.headers("operator")).status_code)

    assert (status(OTHER), status(ANYBODY), status("nobody")) == (200, 200, 404)
    listed = served.client.get(f"/analytics/companies?{PERIOD}", headers=served.headers("operator")).json()
    assert {HEADLINE.company, OTHER, ANYBODY} <= {each["companyId"] for each in listed["companies"]}
    own = served.client.get(f"/analytics/companies?{PERIOD}", headers=served.headers()).json()
    assert [each["companyId"] for each in own["companies"]] == [HEADLINE.company]


def test_measurements_are_for_operators(served: Served) -> None:
    def refused() -> float:
        text = served.client.get("/metrics", headers=served.headers("operator")).text
        assert "analytics_stored_events" in text
        counted = 'analytics_api_request_seconds_count{method="GET",route="/metrics",status="403"} '
        return float(text.partition(counted)[2].partition("\n")[0] or 0)

    before = refused()
    assert served.client.get("/metrics").status_code == 401
    assert served.client.get("/metrics", headers=served.headers()).status_code == 403
    assert refused() == before + 1
