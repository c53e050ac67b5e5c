"""Recording events: one or many, with an outcome for each."""

from collections import Counter
from typing import Annotated

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Header, Query, Request, Response, Security

from analytics_pipeline.api.asking import Parameters
from analytics_pipeline.api.auth import Caller, caller_with
from analytics_pipeline.api.describing import answered
from analytics_pipeline.api.recording import Content, Outcome, record, records_of, unpack
from analytics_pipeline.api.replays import Replayable
from analytics_pipeline.api.schemas import EventsAnswer
from analytics_pipeline.api.scopes import Scope
from analytics_pipeline.timescale.connection import Connection

router = APIRouter(prefix="/analytics", tags=["events"])

_SINGLE = {
    201: "A single event was stored.",
    409: "A single event contradicts a stored one, or a request with this Idempotency-Key is being answered.",
    422: "A single event is rejected, or the request is.",
}
_EVENT = {
    "event_id": "0b0e5b0a-6c1f-4d0e-9a55-0d4d3c1f7a11",
    "timestamp": "2025-01-31T12:00:00Z",
    "user_id": "u1",
    "event_type": "payment.received",
    "category": "revenue",
    "value": "100.00",
    "currency": "EUR",
}
_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]},
            "example": _EVENT,
        },
        "application/x-ndjson": {"schema": {"type": "string"}},
        "application/cloudevents+json": {"schema": {"type": "object"}},
        "application/cloudevents-batch+json": {"schema": {"type": "array", "items": {"type": "object"}}},
    },
}
_STATUS = {"stored": 201, "known": 200, "conflict": 409, "rejected": 422}


@router.post(
    "/events",
    openapi_extra={"requestBody": _BODY},
    **answered(
        EventsAnswer,
        errors=(400, 401, 403, 409, 413, 415, 422, 429, 503),
        more={status: {"description": text, "model": EventsAnswer} for status, text in _SINGLE.items()},
    ),
)
async def record_events(
    request: Request,
    caller: Annotated[Caller, Security(caller_with(Scope.EVENTS))],
    _: Annotated[Parameters, Query()],
    idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Record one event (a JSON object) or many (a JSON array, or JSON Lines), also packed with gzip.

    Events are recognised by event_id and timestamp: sending them again is harmless. What a record is rejected for is
    in its outcome. A company's token needs no company_id. CloudEvents envelopes (1.0) are taken, too.
    """
    state = request.app.state
    packed = await request.body()
    headers = request.headers

    def read() -> tuple[bytes, list[Content], bool]:
        body = unpack(packed, headers.get("content-encoding", ""), state.settings.api_max_body)
        return body, *records_of(body, headers.get("content-type", ""))

    # A large body takes a while, which must not hold up the others.
    body, records, is_single = await to_thread.run_sync(read)
    # The same person may send for several companies.
    sender = f"{caller.name} for {caller.company or 'all'}"
    replayable = None if idempotency_key is None else Replayable.of(sender, idempotency_key, body)

    def write(connection: Connection) -> tuple[bytes, bool]:
        if replayable is None:
            return _answer(record(connection, records, caller.company, None)), False
        key = f"{replayable.caller}:{replayable.key}"
        return replayable.answer_once(connection, lambda: _answer(record(connection, records, caller.company, key)))

    answer, is_replayed = await state.writers.run(write)
    outcomes = [entry["outcome"] for entry in msgspec.json.decode(answer)["records"]]
    if not is_replayed:
        state.measurements.note_events(Counter(outcomes))
    return Response(
        answer,
        status_code=_STATUS[outcomes[0]] if is_single else 200,
        headers={"Idempotency-Replayed": "true"} if is_replayed else None,
        media_type="application/json",
    )


def _answer(outcomes: list[Outcome]) -> bytes:
    counts = Counter(outcome.outcome for outcome in outcomes)
    return msgspec.json.encode(
        {
            "received": len(outcomes),
            **{name: counts[name] for name in ("stored", "known", "conflict", "rejected")},
            "records": [outcome.as_json() for outcome in outcomes],
        }
    )
