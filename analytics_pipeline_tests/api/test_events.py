"""Events over HTTP: the rules of ingestion, an outcome for each record, and requests that are sent again."""

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from analytics_pipeline.api.recording import unpack
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.api.conftest import ANYBODY, Served, new_token
from analytics_pipeline_tests.conftest import SERVER_URL
from analytics_pipeline_tests.metrics.scenarios import payment


def post(
    served: Served, body: object, media_type: str = "application/json", whose: str = ANYBODY, **headers: str
) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {**served.headers(whose), "Content-Type": media_type, **headers}
    return served.client.post("/analytics/events", content=content, headers=sent)


def outcomes(response: Any) -> list[str]:
    return [record["outcome"] for record in response.json()["records"]]


def test_one_event_is_stored_once(served: Served) -> None:
    event = payment("04-01", "12.30")
    assert [post(served, event).status_code, post(served, event).status_code] == [201, 200]
    contradicting = post(served, {**event, "value": "12.31"})
    assert (contradicting.status_code, outcomes(contradicting)) == (409, ["conflict"])
    refused = post(served, {**event, "event_id": "new", "value": "-1"})
    assert (refused.status_code, outcomes(refused)) == (422, ["rejected"])
    assert "value" in refused.json()["records"][0]["reason"]


def test_each_record_of_a_batch_has_its_outcome(served: Served) -> None:
    first, second = payment("04-02", "1.00"), payment("04-03", "2.00")
    post(served, first)
    batch = [second, first, {**first, "value": "9.00"}, {"event_type": "x"}, "no object", second]
    response = post(served, batch)
    assert response.status_code == 200
    assert outcomes(response) == ["stored", "known", "conflict", "rejected", "rejected", "known"]
    assert [record["index"] for record in response.json()["records"]] == list(range(6))
    assert response.json()["stored"] == 1


@pytest.mark.parametrize("packing", ["", "gzip", "GZIP"])
def test_lines_are_taken_one_by_one(served: Served, packing: str) -> None:
    lines = "\n".join(
        [json.dumps(payment("04-04", "1.00")), "{broken", "", json.dumps(payment("04-05", "1.00"))]
    ).encode()
    body = gzip.compress(lines) if packing else lines
    response = post(served, body, "application/x-ndjson", **{"Content-Encoding": packing})
    assert outcomes(response) == ["stored", "rejected", "stored"]


def test_numbers_keep_their_digits(served: Served) -> None:
    event = json.dumps({**payment("04-06", "0"), "currency": "BTC"}).replace(
        '"value": "0"', '"value": 0.10000000000000001'
    )
    assert post(served, event.encode()).status_code == 201
    with served.database.connect() as connection:
        row = connection.execute(
            "SELECT value::text FROM analytics_events WHERE company_id = %s AND currency = 'BTC'", [ANYBODY]
        ).fetchone()
    assert row == ("0.10000000000000001",)


def test_a_cloud_event_is_an_event(served: Served) -> None:
    event = payment("04-07", "5.00")
    data = {name: value for name, value in event.items() if name not in ("event_id", "timestamp", "event_type")}
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": "42",
        "source": "/erp",
        "type": event["event_type"],
        "time": event["timestamp"],
        "data": data,
    }
    first = post(served, envelope, "application/cloudevents+json")
    assert outcomes(first) == ["stored"]
    assert outcomes(post(served, [envelope], "application/cloudevents-batch+json")) == ["known"]
    # Another source's 42 is another event.
    assert outcomes(post(served, {**envelope, "source": "/shop"})) == ["stored"]
    assert outcomes(post(served, {**envelope, "data": {**data, "timestamp": event["timestamp"]}})) == ["rejected"]


def test_a_request_with_a_key_is_answered_again_as_it_was(served: Served) -> None:
    event = payment("04-08", "6.00")
    del event["event_id"]
    key = {"Idempotency-Key": "k-1"}
    assert outcomes(post(served, event)) == ["rejected"]
    first = post(served, [event], **key)
    again = post(served, [event], **key)
    assert outcomes(first) == ["stored"]
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    assert post(served, [event, event], **key).status_code == 422
    # Of another caller it is another key.
    _, other = new_token(served.database, ANYBODY)
    sent = {"Authorization": f"Bearer {other}", "Content-Type": "application/json", **key}
    response = served.client.post("/analytics/events", content=json.dumps([event]), headers=sent)
    assert outcomes(response) == ["stored"]


def test_simultaneous_requests_with_a_key_are_one(served: Served) -> None:
    event = payment("04-10", "7.00")
    del event["event_id"]
    with ThreadPoolExecutor(8) as threads:
        responses = list(threads.map(lambda _: post(served, [event], **{"Idempotency-Key": "k-8"}), range(8)))
    answered = [response for response in responses if response.status_code == 200]
    (first,) = [response for response in answered if "idempotency-replayed" not in response.headers]
    assert outcomes(first) == ["stored"]
    assert {response.content for response in answered} == {first.content}
    refused = [response for response in responses if response not in answered]
    assert {(response.status_code, response.headers["retry-after"]) for response in refused} <= {(409, "1")}


@pytest.mark.skipif(SERVER_URL is None, reason="requests to the embedded server take turns")
def test_a_request_that_is_under_way_is_not_begun_again_and_then_replayed(served: Served) -> None:
    event = payment("04-11", "8.00")
    del event["event_id"]

    def send() -> Any:
        return post(served, [event], **{"Idempotency-Key": "k-9"})

    with served.database.connect() as other, ThreadPoolExecutor(1) as thread:
        other.execute("LOCK TABLE analytics_events IN EXCLUSIVE MODE")
        first = thread.submit(send)
        waiting = (
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'analytics_api writer' AND wait_event_type = 'Lock')"
        )
        while not fetch_row(other, waiting)[0]:
            assert not first.done()
            other.execute("SELECT pg_stat_clear_snapshot()")
        second = send()
        other.rollback()
    assert (second.status_code, second.headers["content-type"]) == (409, "application/problem+json")
    assert outcomes(first.result()) == ["stored"]
    assert (send().content, send().headers["idempotency-replayed"]) == (first.result().content, "true")


def test_very_many_members_are_unpacked_without_copying_the_body_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows a member is copied: of the whole body, that would take hours."""
    given: list[int] = []

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._member = zlib_member(wbits=wbits)

        def decompress(self, data: bytes, most: int) -> bytes:
            given.append(len(data))
            return self._member.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._member, name)

    zlib_member = zlib.decompressobj
    monkeypatch.setattr("analytics_pipeline.api.recording.zlib.decompressobj", Counting)
    body = gzip.compress(b"") * 20_000 + gzip.compress(b"[]")
    assert unpack(body, "gzip", 1_000) == b"[]"
    assert len(given) > 20_000
    assert max(given) < len(body) / 20


@pytest.mark.parametrize(
    ("body", "media_type", "headers", "status"),
    [
        pytest.param(b"[{]", "application/json", {}, 400, id="no JSON"),
        pytest.param(b'{"a":1,"a":2}', "application/json", {}, 400, id="a key twice"),
        pytest.param(b"\xff", "application/json", {}, 400, id="not UTF-8"),
        pytest.param(b"a,b", "text/csv", {}, 415, id="another type"),
        pytest.param(b"[]", "application/json", {"Content-Encoding": "br"}, 415, id="another packing"),
        pytest.param(b"[]", "application/json", {"Content-Encoding": "gzip"}, 400, id="not packed"),
        pytest.param(gzip.compress(b"[]" * 99)[:-9], "application/json", {"Content-Encoding": "gzip"}, 400, id="cut"),
        pytest.param(
            gzip.compress(b" " * 20_000_000), "application/json", {"Content-Encoding": "gzip"}, 413, id="bomb"
        ),
        pytest.param(b" " * 16_777_217, "application/json", {}, 413, id="too large"),
        pytest.param(b"[" + b"{}," * 20_000 + b"{}]", "application/json", {}, 413, id="too many"),
        pytest.param(b"[]", "application/json", {"Idempotency-Key": "x" * 256}, 400, id="a long key"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_as_a_whole(
    served: Served, body: bytes, media_type: str, headers: dict[str, str], status: int
) -> None:
    response = post(served, body, media_type, **headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


def test_a_parameter_in_the_address_is_refused_and_not_ignored(served: Served) -> None:
    for address in ("/analytics/events", "/analytics/reports"):
        response = served.client.post(f"{address}?companyId={ANYBODY}", json={}, headers=served.headers("operator"))
        assert response.status_code == 422
        assert "companyId: there is no such parameter" in response.json()["detail"]


def test_operators_name_the_company_of_each_event(served: Served) -> None:
    event = payment("04-09", "1.00")
    assert outcomes(post(served, [event, {**event, "company_id": ANYBODY}], whose="operator")) == ["rejected", "stored"]
