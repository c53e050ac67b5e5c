"""What a reader hands on: one record of a file, readable or not, with where it stood and what it said."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from analytics_pipeline.events.ids import MAX_ID_CHARACTERS
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.intake.rejects import storable

# Longer texts are cut where a reject is kept: nobody repairs them by hand.
KEPT_CHARACTERS = 1_048_576


class Record(NamedTuple):
    """One record: line number (from 1; rows of Parquet count as lines) and its fields, or why it has none."""

    line: int
    content: Mapping[str, Any] | RejectedEvent
    raw: bytes | Mapping[str, Any]
    size: int

    @property
    def company_id(self) -> str | None:
        """The company that the record names, None where that can't be read."""
        named = None if isinstance(self.content, RejectedEvent) else self.content.get("company_id")
        return named if isinstance(named, str) and 0 < len(named) <= MAX_ID_CHARACTERS else None

    @property
    def text(self) -> str:
        """The record as it came (of Parquet: as JSON), made storable: NUL and broken bytes are escaped."""
        if isinstance(self.raw, bytes):
            text = self.raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
        else:
            text = json.dumps(self.raw, ensure_ascii=False, default=str)
        return storable(text)[:KEPT_CHARACTERS]
