"""Events that come over HTTP: a body taken apart into records, and what became of each."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from analytics_pipeline.api.problems import ApiError
from analytics_pipeline.events.aliases import load_aliases
from analytics_pipeline.events.bulk_load import BATCH_EVENTS, EventLoader
from analytics_pipeline.events.contradictions import CONTRADICTED, Origin
from analytics_pipeline.events.erased import load_erased
from analytics_pipeline.events.exact_json import parse_json
from analytics_pipeline.events.ingest import UNFORESEEN
from analytics_pipeline.events.lines import line_record
from analytics_pipeline.events.model import AnalyticsEvent, Parsing, parse_event
from analytics_pipeline.intake.bounded_lines import LongLine, bounded_lines, decode_line
from analytics_pipeline.intake.rejection import RejectedEvent, shown
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import DatabaseClock
from analytics_pipeline.timescale.connection import Connection

# Where contradictions are said to have come from.
SOURCE = "api"
_LINES = {"application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines"}
_JSON = {"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"}
TYPES = sorted(_LINES | _JSON)

_GZIP = zlib.MAX_WBITS | 16
_PIECE_BYTES = 4_096

Content = Mapping[str, Any] | RejectedEvent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a record: ``stored``, ``known`` (it was stored before), ``conflict`` or ``rejected``, and why."""

    index: int
    outcome: str
    event_id: UUID | None
    kind: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, object]:
        """Return it as the answer shows it."""
        shown_fields: dict[str, object] = {"index": self.index, "outcome": self.outcome}
        if self.event_id is not None:
            shown_fields["eventId"] = str(self.event_id)
        if self.reason is not None:
            shown_fields |= {"kind": self.kind, "reason": self.reason}
        return shown_fields


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return a body unpacked; raises ``ApiError`` for another encoding than gzip, and for more than ``limit`` bytes."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise ApiError(415, "A body may be packed with gzip, or not at all.")
    unpacked = bytearray()
    # Of each member of several, as tools write them. What follows a member is copied: of a piece that is cheap, of the
    # whole body of tiny members it is not.
    member = zlib.decompressobj(wbits=_GZIP)
    is_whole = True
    try:
        for start in range(0, len(body), _PIECE_BYTES):
            piece = body[start : start + _PIECE_BYTES]
            while piece:
                unpacked += member.decompress(piece, limit + 1 - len(unpacked))
                if len(unpacked) > limit:
                    raise ApiError(413, f"The body has more than {limit:,} bytes unpacked: send it in parts.")
                piece, is_whole = member.unused_data, member.eof
                if is_whole:
                    member = zlib.decompressobj(wbits=_GZIP)
    except zlib.error:
        raise ApiError(400, "The body says that it is packed with gzip, and is not.") from None
    if not is_whole:
        raise ApiError(400, "The body ends before its packed data do.")
    return bytes(unpacked)


def records_of(body: bytes, content_type: str) -> tuple[list[Content], bool]:
    """Return the records of a body, and whether it is a single one and no list.

    Raises ``ApiError`` for another type, for what is no JSON as a whole, and for too many records.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _LINES:
        records = list(_lines(body))
    elif media_type in _JSON:
        try:
            value = parse_json(decode_line(body))
        except RejectedEvent as rejection:
            raise ApiError(400, rejection.reason) from None
        if not isinstance(value, list):
            return [_record(value)], True
        records = [_record(entry) for entry in value]
    else:
        raise ApiError(415, f"Send events as one of {', '.join(TYPES)}.")
    if len(records) > BATCH_EVENTS:
        raise ApiError(413, f"More than {BATCH_EVENTS:,} records: send them in parts.")
    return records, False


def record(connection: Connection, records: Sequence[Content], company: str | None, key: str | None) -> list[Outcome]:
    """Store records and return what became of each, in their order; commits.

    Those of a company's token are that company's, whether they name it or not (``None``: an operator's name theirs).
    Records without an ``event_id`` get one of their position and ``key``, the same whenever they are sent again.
    """
    parsing = Parsing(aliases=load_aliases(connection), erased=load_erased(connection))
    now = DatabaseClock(connection).now()
    outcomes: dict[int, Outcome] = {}
    events: list[AnalyticsEvent] = []
    places: list[int] = []
    for index, content in enumerate(records):
        try:
            event = parse_event(_completed(content, company, key, index), now=now, parsing=parsing)
            _require_own(event, company)
        except RejectedEvent as rejection:
            outcomes[index] = Outcome(index, "rejected", None, rejection.kind, rejection.reason)
        except Exception as error:  # noqa: BLE001 - as ingestion does: no reason to leave out the others
            problem = f"it can't be parsed: {type(error).__name__}: {error}."
            outcomes[index] = Outcome(index, "rejected", None, UNFORESEEN, problem)
        else:
            events.append(event)
            places.append(index)
    known = _known(connection, events)
    # Their places count from 1: line 0 is none.
    origin = Origin(SOURCE, events, [place + 1 for place in places])
    for event, _, refused in EventLoader(connection).load(events, origin).refused:
        index = origin.line_of(event) - 1
        outcome = "conflict" if refused.kind == CONTRADICTED else "rejected"
        outcomes[index] = Outcome(index, outcome, event.event_id, refused.kind, refused.reason)
    for index, event in zip(places, events, strict=True):
        if index not in outcomes:
            key_of_event = (event.event_id, event.timestamp)
            outcomes[index] = Outcome(index, "known" if key_of_event in known else "stored", event.event_id)
            # Once more within the request.
            known.add(key_of_event)
    return [outcomes[index] for index in range(len(records))]


def _require_own(event: AnalyticsEvent, company: str | None) -> None:
    if company is not None and event.company_id != company:
        raise RejectedEvent("another company", "company_id names another company than the token's: leave it out.")


def _known(connection: Connection, events: Sequence[AnalyticsEvent]) -> set[tuple[UUID, Any]]:
    if not events:
        return set()
    instants = [event.timestamp for event in events]
    parameters = {
        "ids": [event.event_id for event in events],
        "instants": instants,
        "first": min(instants),
        "last": max(instants),
    }
    return set(connection.execute(load_query("api_known_events"), parameters))


def _lines(body: bytes) -> Iterator[Content]:
    for number, line in enumerate(bounded_lines(BytesIO(body)), start=1):
        if isinstance(line, LongLine):
            yield line.rejection
        elif not line.isspace():
            content = line_record(number, line).content
            yield content if isinstance(content, RejectedEvent) else _record(content)


def _record(value: object) -> Content:
    if not isinstance(value, dict):
        return RejectedEvent("not an object", f"{shown(value)} is not a JSON object: each event is one.")
    return _of_cloud_event(value) if "specversion" in value else value


def _of_cloud_event(envelope: Mapping[str, Any]) -> Content:
    """Return the event in a CloudEvents envelope (1.0): its type, time and id, and the other fields from its data."""
    data = envelope.get("data")
    if not isinstance(data, dict):
        return RejectedEvent("envelope", "data of the envelope is not an object: it holds the event's other fields.")
    taken = {"event_id", "timestamp", "event_type"} & data.keys()
    if taken:
        return RejectedEvent("envelope", f"{min(taken)} is given by the envelope: take it out of data.")
    identity, source = envelope.get("id"), envelope.get("source")
    if not isinstance(identity, str) or not isinstance(source, str) or not identity or not source:
        return RejectedEvent("envelope", "id and source of the envelope are texts, which together name the event.")
    return {
        **data,
        "event_id": _event_id(source, identity),
        "timestamp": envelope.get("time"),
        "event_type": envelope.get("type"),
    }


def _event_id(source: str, identity: str) -> str:
    try:
        return str(UUID(identity))
    except ValueError:
        # Ids are unique within their source alone.
        return f"{source} {identity}"


def _completed(content: Content, company: str | None, key: str | None, index: int) -> Mapping[str, Any]:
    if isinstance(content, RejectedEvent):
        raise content
    missing: dict[str, object] = {}
    if company is not None and content.get("company_id") is None:
        missing["company_id"] = company
    if key is not None and content.get("event_id") is None:
        missing["event_id"] = uuid5(NAMESPACE_URL, f"analytics-events:{key}:{index}")
    return {**content, **missing} if missing else content
