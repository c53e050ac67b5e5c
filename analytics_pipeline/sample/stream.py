"""The stream the sample arrives in: ids, timestamps, late events, duplicates, arrival order."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from functools import cache, lru_cache
from operator import itemgetter
from random import Random
from typing import TypedDict

from analytics_pipeline.events.event_types import known_type

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

LATE_SHARE = 0.005
LATE_AT_LEAST = 1 * HOUR
LATE_AT_MOST = 6 * DAY
# What a late event says in its metadata: when it came in. All others came in as they happened.
ARRIVED_AT = "arrived_at"
DUPLICATE_SHARE = 0.003
DUPLICATE_AT_MOST = 2 * DAY

_UUID_FREE_BITS = ~((0xF << 76) | (0x3 << 62))
_UUID_VERSION_4 = (0x4 << 76) | (0x2 << 62)

Metadata = dict[str, str | int]


class SampleEvent(TypedDict):
    """One event as a line of the ingestion format; ``value`` is a decimal in text."""

    event_id: str
    timestamp: str
    company_id: str
    user_id: str
    event_type: str
    category: str
    value: str | None
    currency: str | None
    metadata: Metadata


class Stream:
    """Keeps events until the day they arrive: what is held is the pending ones, never the whole span."""

    def __init__(self, *, end: date) -> None:
        """Open a stream that drops every event dated ``end`` or later."""
        self.end = end.toordinal() * DAY
        self._pending: defaultdict[int, list[tuple[int, SampleEvent]]] = defaultdict(list)

    def add(self, arrival: int, event: SampleEvent) -> None:
        """Let the event arrive at the given second."""
        self._pending[arrival // DAY].append((arrival, event))

    def arrived_on(self, day: int) -> Iterator[SampleEvent]:
        """Yield and forget the events that arrive on the day, in order of arrival."""
        arrivals = self._pending.pop(day, [])
        arrivals.sort(key=itemgetter(0))
        for _, event in arrivals:
            yield event

    def rest(self) -> Iterator[SampleEvent]:
        """Yield and forget everything that is still to arrive."""
        for day in sorted(self._pending):
            yield from self.arrived_on(day)


class Recorder:
    """Records the events of one company into the stream; some arrive late, some twice."""

    def __init__(self, company_id: str, rng: Random, stream: Stream) -> None:
        """Record for the company, with its own random numbers."""
        self._company_id = company_id
        self._rng = rng
        self._stream = stream

    def record(
        self,
        at: int,
        user_id: str,
        event_type: str,
        *,
        value: str | None = None,
        currency: str | None = None,
        metadata: Metadata | None = None,
    ) -> None:
        """Record one event that happens at the second ``at``; beyond the span it is dropped.

        ``metadata`` is the event's own from now on.
        """
        if at >= self._stream.end:
            return
        properties = {} if metadata is None else metadata
        event = SampleEvent(
            event_id=uuid_text(self._rng.getrandbits(128)),
            timestamp=timestamp_text(at),
            company_id=self._company_id,
            user_id=user_id,
            event_type=event_type,
            category=_category(event_type),
            value=value,
            currency=currency,
            metadata=properties,
        )
        draw = self._rng.random()
        if draw < LATE_SHARE:
            lateness = self._rng.random()
            at += LATE_AT_LEAST + int(lateness * lateness * (LATE_AT_MOST - LATE_AT_LEAST))
            properties[ARRIVED_AT] = timestamp_text(at)
        self._stream.add(at, event)
        if draw >= 1 - DUPLICATE_SHARE:
            self._stream.add(at + int(self._rng.random() * DUPLICATE_AT_MOST), event)


@cache
def _category(event_type: str) -> str:
    known = known_type(event_type)
    if known is None:
        raise ValueError(f"{event_type} is not in the catalogue of event types")
    return known.category


def uuid_text(bits: int) -> str:
    """Return 128 random bits in the form of a version 4 UUID."""
    text = f"{bits & _UUID_FREE_BITS | _UUID_VERSION_4:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def timestamp_text(at: int) -> str:
    """Return the second as an ISO instant in UTC, such as ``2025-01-31T09:30:00Z``."""
    day, second = divmod(at, DAY)
    return f"{_date_text(day)}T{second // HOUR:02d}:{second // MINUTE % 60:02d}:{second % MINUTE:02d}Z"


@lru_cache(maxsize=64)
def _date_text(day: int) -> str:
    return date.fromordinal(day).isoformat()


def decimal_text(units: int, places: int) -> str:
    """Return an integer number of smallest units as an exact decimal: ``(-1250, 2)`` is ``-12.50``."""
    whole, fraction = divmod(abs(units), 10**places)
    return f"{'-' if units < 0 else ''}{whole}.{fraction:0{places}d}"
