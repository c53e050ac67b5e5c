"""Requests that nobody meant: each is answered, none as a failure of the server, and is stored as its answer says.

The usual run makes do with a sample; ``make test-faults`` sends 10,000.
"""

import json
import random
from collections import Counter
from typing import Any

import pytest

from analytics_pipeline.api.app import create_app
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import fetch_row
from analytics_pipeline_tests.api.conftest import Served, new_token
from analytics_pipeline_tests.events.sample_records import json_lines
from analytics_pipeline_tests.events.test_mutated_files import TEXTS, VALUES, mutated, raws

MEDIA_TYPES = (
    "application/json", "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json",
    "text/csv", "", "application/json; charset=utf-16", "x" * 500,
)  # fmt: skip
PATHS = create_app(Settings()).openapi()["paths"]
STORED = "SELECT count(*), count(DISTINCT event_id) FROM analytics_events WHERE company_id = %s"


def body_of(rng: random.Random, company: str) -> bytes:
    """Return a body of some records of a company, most of the time with bytes changed."""
    records = [raw | {"company_id": company} if raw.get("company_id") == "acme" else raw for raw in raws(rng)]
    match rng.randrange(5):
        case 0:
            text = json_lines(records)
        case 1:
            text = json.dumps(records[0])
        case 2:
            text = json.dumps({"specversion": "1.0", "id": rng.choice(VALUES), "source": "/x", "data": records[0]})
        case 3:
            text = json.dumps(rng.choice(VALUES))
        case _:
            text = json.dumps(records)
    content = text.encode("utf-8", "surrogatepass")
    return mutated(rng, content) if rng.random() < 0.7 else content


def text_of(rng: random.Random) -> str:
    text = rng.choice((*TEXTS, "2025-01-31", "2025-13-01", "9" * 400, "acme", "../..", "%00"))
    return text.encode("utf-8", "replace").decode()


def ask(served: Served, rng: random.Random, company: str, headers: dict[str, str]) -> Any:
    """Send a request to some address with parameters that it may not have, and values that they can't have."""
    path, methods = rng.choice(list(PATHS.items()))
    method = rng.choice([*methods, "get", "delete", "patch"])
    declared = [p["name"] for p in methods.get(method, {}).get("parameters", ()) if p["in"] == "query"]
    names = rng.sample([*declared, "no_such"], rng.randrange(len(declared) + 2))
    for part in {part for part in path.split("/") if part.startswith("{")}:
        path = path.replace(part, rng.choice(("x", "1", "%2e%2e", "%00", "9" * 30, "2025-01")))
    content = body_of(rng, company) if method == "post" else None
    parameters = {name: text_of(rng) for name in names}
    return served.client.request(method, path, params=parameters, content=content, headers=headers)


def send_events(served: Served, rng: random.Random, company: str, headers: dict[str, str]) -> Any:
    packing = rng.choice(("", "", "", "gzip", "br"))
    sent = {**headers, "Content-Type": rng.choice(MEDIA_TYPES), "Content-Encoding": packing}
    return served.client.post("/analytics/events", content=body_of(rng, company), headers=sent)


def send_malformed(served: Served, requests: int) -> None:
    company = f"malformed-{requests}"
    headers = {"Authorization": f"Bearer {new_token(served.database, company)[1]}"}
    statuses: Counter[int] = Counter()
    stored = 0
    for number in range(requests):
        rng = random.Random(number)  # noqa: S311
        is_events = number % 2 == 0
        response = (send_events if is_events else ask)(served, rng, company, headers)
        assert response.status_code < 500, (number, response.text)
        if response.status_code >= 400 and not (is_events and response.status_code in (409, 422)):
            assert response.headers["content-type"] == "application/problem+json", number
        if is_events and "stored" in (answer := response.json()):
            stored += answer["stored"]
        statuses[response.status_code] += 1
    with served.database.connect() as connection:
        # The other addresses store no event, either.
        assert fetch_row(connection, STORED, [company]) == (stored, stored)
    print(f"\n{requests} requests: {dict(statuses)}, {stored} events stored")  # noqa: T201 - what it came to, with -s
    assert stored
    assert statuses.keys() >= {200, 400, 422}


@pytest.mark.fuzz
def test_malformed_requests_are_answered_and_store_what_they_say(served: Served) -> None:
    send_malformed(served, 100)


@pytest.mark.fuzz
@pytest.mark.faults
@pytest.mark.endurance
def test_ten_thousand_malformed_requests_are_answered_and_store_what_they_say(served: Served) -> None:
    send_malformed(served, 10_000)
