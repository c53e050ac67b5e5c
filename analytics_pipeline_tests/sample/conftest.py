"""One small sample of 13 months, read back from its lines, for all tests of what it says."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pytest

from analytics_pipeline.events.model import AnalyticsEvent, parse_event
from analytics_pipeline.sample import generate_events, write_lines

START = date(2025, 4, 1)
END = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """The lines as they arrive, and the events in them: parsed, in the order of time, each once."""

    lines: list[bytes]
    raw: list[dict[str, Any]]
    events: list[AnalyticsEvent]

    def of_category(self, category: str) -> list[AnalyticsEvent]:
        return [event for event in self.events if event.category == category]


@pytest.fixture(scope="package")
def sample() -> Sample:
    """13 months of 5 companies with a fifth of their customers."""
    buffer = BytesIO()
    write_lines(generate_events(seed=7, start=START, months=13, companies=5, scale=0.2), buffer)
    lines = buffer.getvalue().splitlines()
    once = {event["event_id"]: event for event in map(json.loads, lines)}
    events = [parse_event(event, now=END) for event in once.values()]
    return Sample(
        lines=lines,
        raw=[json.loads(line) for line in lines],
        events=sorted(events, key=lambda event: event.timestamp),
    )
