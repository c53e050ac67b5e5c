"""The live socket: current figures on connect, then every change, for those who may see them."""

import json
import socket as sockets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from analytics_pipeline.api import live, token_cache
from analytics_pipeline.api.limits import RateLimit
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.api.tokens import revoke_token
from analytics_pipeline.metrics.live_figures import live_answer
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import SERVER_URL
from analytics_pipeline_tests.dashboard.serving import Served

SECONDS = 30.0


@contextmanager
def listen(served: Served, token: str | None, query: str = "", **options: Any) -> Iterator[ClientConnection]:
    protocols = [live.PROTOCOL] + ([f"bearer.{token}"] if token else [])
    with connect(f"ws://{served.host}/analytics/live{query}", subprotocols=protocols, **options) as socket:  # type: ignore[arg-type]
        yield socket


def receive(socket: ClientConnection, kind: str = "figures") -> dict[str, Any]:
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=SECONDS))
        if message["type"] == kind:
            return message


def revenue_today(socket: ClientConnection) -> float:
    return float(receive(socket)["today"]["totalRevenue"])


def closing_code(socket: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        receive(socket, "nothing of this kind is sent")
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


@pytest.mark.slow
def test_a_client_gets_the_current_figures_and_each_change_and_the_latest_after_an_interruption(
    served: Served, company: str
) -> None:
    token = served.new_token(company)
    with listen(served, token, "?numbers=string") as socket:
        assert socket.subprotocol == live.PROTOCOL
        first = receive(socket)
        assert first["companyId"] == first["revenue"]["companyId"] == first["users"]["companyId"] == company
        assert first["revenue"]["totalRevenue"] == first["today"]["totalRevenue"] == "100.00"
        assert first["revenue"]["startDate"] == f"{datetime.now(UTC):%Y-%m-01}"
        assert first["today"]["topEvents"] == [{"eventType": "payment.received", "category": "revenue", "events": 1}]
        served.pay(company, "20.50")
        assert receive(socket)["today"]["totalRevenue"] == "120.50"
        served.pay("globex", "1.00")
        served.pay(company, "0.50")
        # Of another company's payment nothing is sent, unless the reading of both is one.
        while (message := receive(socket))["today"]["totalRevenue"] != "121.00":
            assert message["today"]["totalRevenue"] == "120.50"
    served.pay(company, "9.00")
    with listen(served, token) as socket:
        assert revenue_today(socket) == 130.00


@pytest.mark.skipif(SERVER_URL is None, reason="the embedded server has one session, and nobody listens")
def test_announced_changes_are_sent_without_polling(
    served: Served, company: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_POLL_SECONDS", 3_600.0)
    with listen(served, served.new_token(None), f"?companyId={company}") as socket:
        assert revenue_today(socket) == 100.00
        for amount, total in (("1.00", 101.00), ("2.00", 103.00)):
            served.pay(company, amount)
            assert revenue_today(socket) == total


@pytest.mark.slow
def test_changes_that_nobody_announces_are_found(served: Served, company: str) -> None:
    with listen(served, served.new_token(company)) as socket:
        assert revenue_today(socket) == 100.00
        with served.database.connect(autocommit=True) as connection:
            copy = (
                'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, '
                'value, currency) SELECT gen_random_uuid(), "timestamp", company_id, user_id, event_type, category, '
                "value, currency FROM analytics_events WHERE company_id = %s"
            )
            connection.execute(copy, [company])
        assert revenue_today(socket) == 200.00


@pytest.mark.slow
def test_one_reading_serves_all_clients_of_a_company(
    served: Served, company: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str | None] = []

    def counted(connection: Connection, company_id: str | None, currency: str, time_zone: str) -> Any:
        read.append(company_id)
        return live_answer(connection, company_id, currency, time_zone)

    monkeypatch.setattr(live, "live_answer", counted)
    # No second reading of the same change, where it is announced.
    monkeypatch.setattr(live, "_POLL_SECONDS", 3_600.0 if SERVER_URL else live._POLL_SECONDS)
    token, operator = served.new_token(company), served.new_token(None)
    with (
        listen(served, token) as one,
        listen(served, token, "?numbers=string") as other,
        listen(served, operator, f"?companyId={company}") as third,
    ):
        clients = (one, other, third)
        assert [revenue_today(client) for client in clients] == [100.00] * 3
        before = len(read)
        served.pay(company, "1.00")
        assert [revenue_today(client) for client in clients] == [101.00] * 3
    assert read[before:] == [company]
    assert set(read) == {company}


@pytest.mark.slow
def test_who_may_not_listen_is_refused_with_a_code(served: Served, company: str) -> None:
    served.pay("globex", "1.00")
    own, writer, operator = served.new_token(company), served.new_token(company, Scope.EVENTS), served.new_token(None)
    for token, query, code in (
        ("ap_guessed", "", live.Close.NOT_AUTHENTICATED),
        (writer, "", live.Close.NOT_ALLOWED),
        (own, "?companyId=globex", live.Close.NO_SUCH_COMPANY),
        (own, "?companyId=nobody", live.Close.NO_SUCH_COMPANY),
        (own, f"?companyId={company}%00", live.Close.NO_SUCH_COMPANY),
        (own, f"?companyId={company.upper()}", live.Close.NO_SUCH_COMPANY),
        (own, "?companyId=%20globex", live.Close.NO_SUCH_COMPANY),
        (own, "?companyId=null", live.Close.NO_SUCH_COMPANY),
        (own, "?companyId=", live.Close.NOT_PROCESSABLE),
        (own, "?CompanyId=globex", live.Close.NOT_PROCESSABLE),
        (own, "?company=globex", live.Close.NOT_PROCESSABLE),
        (operator, "?companyId=nobody", live.Close.NO_SUCH_COMPANY),
        (own, "?company_id=globex", live.Close.NOT_PROCESSABLE),
        (own, f"?companyId={company}&companyId=globex", live.Close.NOT_PROCESSABLE),
        (own, "?currency=XXQ", live.Close.NOT_PROCESSABLE),
    ):
        with listen(served, token, query) as socket:
            assert closing_code(socket) == code, query
    with listen(served, own, origin=f"http://{served.host}") as socket:
        receive(socket)
    for origin in ("https://elsewhere.example", "null", "http://[::1", f"http://{served.host}.elsewhere.example"):
        with pytest.raises(InvalidStatus) as refused, listen(served, own, origin=origin):
            pass
        assert refused.value.response.status_code == 403


@pytest.mark.slow
def test_a_token_that_connects_too_often_or_too_many_times_is_asked_to_come_later(
    served: Served, company: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = served.new_token(company)
    monkeypatch.setattr(live, "MAX_CLIENTS_OF_A_TOKEN", 1)
    with listen(served, token) as first:
        receive(first)
        with listen(served, token) as second:
            assert closing_code(second) == live.Close.TRY_AGAIN_LATER
    monkeypatch.setattr(served.app.state.live, "_rate", RateLimit(0.001, 1))
    with listen(served, token) as first:
        receive(first)
    with listen(served, token) as second:
        assert closing_code(second) == live.Close.TRY_AGAIN_LATER


@pytest.mark.slow
def test_a_reading_that_fails_is_repeated(served: Served, company: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_RETRY_SECONDS", 0.05)
    with listen(served, served.new_token(company)) as socket:
        assert revenue_today(socket) == 100.00
        failures = [ValueError("a defect"), psycopg.OperationalError("the server is away")]

        def failing(connection: Connection, company_id: str | None, currency: str, time_zone: str) -> Any:
            if failures:
                raise failures.pop()
            return live_answer(connection, company_id, currency, time_zone)

        monkeypatch.setattr(live, "live_answer", failing)
        served.pay(company, "1.00")
        assert revenue_today(socket) == 101.00
        assert not failures


def test_a_token_comes_in_the_first_message_too(served: Served, company: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = served.new_token(company)
    with listen(served, None) as socket:
        socket.send(json.dumps({"token": token}))
        assert receive(socket)["companyId"] == company
    for sent in ('{"token": 1}', "[]", "[" * 5_000, "no JSON", json.dumps({"token": token + "x"}), b"\xff"):
        with listen(served, None) as socket:
            socket.send(sent)
            assert closing_code(socket) == live.Close.NOT_AUTHENTICATED, sent
    monkeypatch.setattr(live, "_FIRST_MESSAGE_SECONDS", 0.01)
    with listen(served, None) as socket:
        assert closing_code(socket) == live.Close.NOT_AUTHENTICATED


@pytest.mark.slow
def test_a_revoked_token_ends_its_sockets_and_no_others(
    served: Served, company: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Together they are how long it takes: what is looked up counts for the one, and is asked for after the other.
    assert token_cache.MAX_AGE_SECONDS + live._TOKEN_CHECK_SECONDS < 5
    monkeypatch.setattr(token_cache, "MAX_AGE_SECONDS", 0.1)
    (revoked_id, revoked), other = served.new_token_with_id(company), served.new_token(company)
    with listen(served, revoked) as socket, listen(served, other) as another:
        receive(socket)
        receive(another)
        with served.database.connect(autocommit=True) as connection:
            assert revoke_token(connection, revoked_id)
        assert closing_code(socket) == live.Close.NOT_AUTHENTICATED
        served.pay(company, "1.00")
        assert revenue_today(another) == 101.00


@pytest.mark.slow
def test_heartbeats_come_while_nothing_changes_and_who_does_not_read_is_dropped(
    served: Served, company: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = served.new_token(company)
    # Much at once, into windows as small as they get.
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(live, "_CLOSE_SECONDS", SECONDS)
    address, port = served.host.split(":")
    with sockets.socket() as raw:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2_048)
        raw.connect((address, int(port)))
        with listen(served, token, sock=raw, max_queue=1) as socket:
            assert receive(socket, "heartbeat")["at"].endswith("Z")
            until = time.monotonic() + SECONDS
            while served.app.state.live.counts()["clients"]:
                assert time.monotonic() < until, "a client that does not read is kept"
                time.sleep(0.05)
            assert closing_code(socket) == live.Close.TOO_SLOW
