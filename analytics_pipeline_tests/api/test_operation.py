"""How the API stands in operation: limits, what it logs, databases that are slow or away, and log-ins of its own."""

import json
import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from analytics_pipeline.api.app import create_app
from analytics_pipeline.api.observing import JsonFormatter
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import create_token
from analytics_pipeline.database import connect, migrate
from analytics_pipeline.metrics.access import API, WRITER
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.api.conftest import ANYBODY, HEADLINE, OTHER, Served, new_token
from analytics_pipeline_tests.conftest import SERVER_URL, empty_database
from analytics_pipeline_tests.metrics.scenarios import payment


@contextmanager
def application(served: Served, **changes: Any) -> Iterator[TestClient]:
    """Run another application over the same database, with other settings."""
    settings = served.database.settings.model_copy(update={"api_rate": 0.0, **changes})
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_a_token_that_asks_too_often_waits_and_others_do_not(served: Served) -> None:
    with application(served, api_rate=0.5) as client:
        statuses = [client.get("/analytics/users", headers=served.headers()).status_code for _ in range(3)]
        assert statuses == [200, 429, 429]
        refused = client.get("/analytics/users", headers=served.headers())
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/analytics/users", headers=served.headers(OTHER)).status_code == 200
        # So does whoever tries tokens.
        tried = [client.get("/analytics/users", headers={"Authorization": f"Bearer {n}"}) for n in range(25)]
        assert {response.status_code for response in tried} == {401, 429}


def test_a_request_has_one_line_with_its_id_and_no_secret(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "analytics_pipeline.api.observing")
    headers = {**served.headers(), "X-Request-Id": "from-proxy-1"}
    response = served.client.get(f"/analytics/users?companyId={OTHER}", headers=headers)
    assert response.json()["requestId"] == response.headers["x-request-id"] == "from-proxy-1"
    (record,) = [each for each in caplog.records if "from-proxy-1" in each.getMessage()]
    line = json.loads(JsonFormatter().format(record))
    assert (line["requestId"], line["status"], line["path"]) == ("from-proxy-1", 404, "/analytics/users")
    assert not any(secret in str(line) for secret in (served.tokens[HEADLINE.company], OTHER))
    # One that could forge a line is not taken.
    forged = served.client.get("/healthz", headers={"X-Request-Id": 'x" 200'})
    assert forged.headers["x-request-id"] != 'x" 200'


def test_a_failure_says_nothing_of_the_inside(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with served.database.connect(autocommit=True) as connection:
        connection.execute("ALTER FUNCTION analytics_api.analytics_top_events RENAME TO away")
        try:
            response = served.client.get("/analytics/events/top", headers=served.headers())
        finally:
            connection.execute("ALTER FUNCTION analytics_api.away RENAME TO analytics_top_events")
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert not any(word in response.text for word in ("analytics_top_events", "SELECT", "function"))
    assert "analytics_top_events" in caplog.text


def test_a_caller_that_hangs_up_is_no_failure(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answers.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in served.headers().items()]
    path = "/analytics/events"
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    portal = served.client.portal
    assert portal is not None
    portal.call(served.client.app, {**scope, "headers": headers}, receive, send)
    assert answers[0]["status"] == 400
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.slow
def test_a_database_that_is_away_is_503_and_its_password_is_nowhere(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    nowhere = SecretStr("postgresql://someone:hunter2@127.0.0.1:1/books")
    with application(served, api_url=nowhere, api_pool_timeout=0.2) as client:
        ready = client.get("/readyz")
        asked = client.get("/analytics/users", headers=served.headers())
        assert (ready.status_code, asked.status_code, client.get("/healthz").status_code) == (503, 503, 200)
        assert asked.headers["retry-after"]
        assert "hunter2" not in caplog.text + asked.text + ready.text


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server ends no session of its own accord")
def test_a_restart_of_the_database_costs_none_of_the_requests_after_it(served: Served) -> None:
    event = payment("04-22", "1.00")
    with application(served) as client, served.database.connect(autocommit=True) as connection:

        def ask(_: int) -> int:
            return int(client.get("/analytics/users", headers=served.headers(OTHER)).status_code)

        def post() -> int:
            return int(client.post("/analytics/events", json=event, headers=served.headers(ANYBODY)).status_code)

        with ThreadPoolExecutor(4) as threads:
            assert {*threads.map(ask, range(8)), post()} == {200, 201}
        ended = connection.execute(
            "SELECT pg_terminate_backend(a.pid, 5000) FROM pg_stat_activity AS a "
            "WHERE a.datname = current_database() AND a.application_name LIKE 'analytics_api%'"
        ).fetchall()
        assert len(ended) >= 2
        assert [*map(ask, range(5)), post()] == [200] * 6


@pytest.mark.skipif(SERVER_URL is None, reason="only a server ends statements that take too long")
def test_an_answer_that_takes_too_long_is_ended(served: Served) -> None:
    with (
        served.database.connect() as connection,
        application(served, api_statement_timeout=1) as client,
    ):
        connection.execute("LOCK TABLE analytics_fx_rates")
        response = client.get("/analytics/revenue?currency=BTC", headers=served.headers())
        connection.rollback()
    assert response.status_code == 503
    assert "too long" in response.json()["detail"]


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server knows no log-ins")
def test_it_answers_with_log_ins_of_its_own_that_can_do_nothing_else(served: Served) -> None:
    database = urlsplit(served.database.url)
    names = {API: "analytics_test_api_login", WRITER: "analytics_test_writer_login"}
    with served.database.connect(autocommit=True) as connection:
        for group, name in names.items():
            connection.execute(f"DROP ROLE IF EXISTS {name}")
            connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE {group}")
        try:
            urls = {
                group: SecretStr(database._replace(netloc=f"{name}@{database.hostname}:{database.port}").geturl())
                for group, name in names.items()
            }
            with application(served, api_url=urls[API], api_writer_url=urls[WRITER]) as client:
                headers = served.headers(ANYBODY)
                posted = client.post("/analytics/events", json=payment("04-20", "1.00"), headers=headers)
                assert posted.status_code == 201, posted.text
                for route in ("revenue", "users", "revenue/series", "crypto", "partitions", "reports", "companies"):
                    assert client.get(f"/analytics/{route}", headers=headers).status_code == 200, route
                assert client.get("/metrics", headers=served.headers("operator")).status_code == 200
                wanted = {"startDate": "2026-03-01", "endDate": "2026-03-31"}
                assert client.post("/analytics/reports", json=wanted, headers=headers).status_code == 202
        finally:
            for name in names.values():
                connection.execute(f"DROP OWNED BY {name}")
                connection.execute(f"DROP ROLE {name}")


@pytest.mark.slow
@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server knows no log-ins")
def test_it_answers_with_the_log_in_of_an_owner_that_is_no_superuser(embedded_home: Path, tmp_path: Path) -> None:
    owner = f"analytics_test_{uuid.uuid4().hex[:12]}"
    with empty_database(embedded_home) as url, psycopg.connect(url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {owner} LOGIN")
        # As deploy/timescaledb/010_owner.sql did it before there was an API.
        admin.execute(f"GRANT {API}, {WRITER} TO {owner} WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
        admin.execute(f"CREATE EXTENSION timescaledb; ALTER DATABASE {admin.info.dbname} OWNER TO {owner}")
        parts = urlsplit(url)
        owned = parts._replace(netloc=f"{owner}@{parts.netloc.rpartition('@')[2]}").geturl()
        settings = Settings(home=tmp_path, database_url=SecretStr(owned))
        try:
            migrate(settings)
            with connect(settings, autocommit=True) as connection:
                _, token = create_token(connection, "x", "acme", tuple(Scope), timedelta(days=1))
            with TestClient(create_app(settings), raise_server_exceptions=False) as client:
                headers = {"Authorization": f"Bearer {token}"}
                posted = client.post("/analytics/events", json=payment("04-20", "1.00"), headers=headers)
                asked = client.get("/analytics/revenue", headers=headers)
                assert (posted.status_code, asked.status_code) == (201, 200), (posted.text, asked.text)
        finally:
            admin.execute(f"REASSIGN OWNED BY {owner} TO CURRENT_USER; DROP OWNED BY {owner}; DROP ROLE {owner}")


def test_a_company_without_events_has_answers(served: Served) -> None:
    _, token = new_token(served.database, "brand new")
    answer = served.client.get("/analytics/revenue", headers={"Authorization": f"Bearer {token}"}).json()
    assert (answer["companyId"], answer["mrr"], answer["revenueGrowth"]) == ("brand new", 0, None)
