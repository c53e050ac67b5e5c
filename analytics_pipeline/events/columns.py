"""What CSV and Parquet share: columns that are the fields of an event, one of them JSON text."""

import re
from typing import Any

from analytics_pipeline.events.exact_json import parse_json
from analytics_pipeline.events.model import FIELDS, AnalyticsEvent
from analytics_pipeline.events.sources import UnreadableSourceError
from analytics_pipeline.intake.rejection import RejectedEvent, shown

_REQUIRED_COLUMNS = ("event_id", "timestamp", "company_id", "event_type", "category")
# The number of a row, as pandas and R write it: into CSV, after reading that again, and into Parquet.
is_unnamed = re.compile(r"|Unnamed: [0-9]+(?:\.[0-9]+)?|__index_level_[0-9]+__").fullmatch


def with_metadata(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with a metadata column's JSON text read."""
    text = fields.get("metadata")
    if not isinstance(text, str):
        return fields
    try:
        return {**fields, "metadata": parse_json(text)}
    except RejectedEvent as rejection:
        raise RejectedEvent(f"metadata: {rejection.kind}", f"metadata: {rejection.reason}") from rejection


def check_columns(columns: list[str], name: str) -> None:
    """Raise ``UnreadableSourceError`` unless every column is a field, once, and the required ones are there."""
    for column in columns:
        if column not in FIELDS:
            raise UnreadableSourceError(
                f"{name} has the column {shown(column)}, which no event has: columns are "
                f"{', '.join(AnalyticsEvent._fields)}; anything else goes into metadata as JSON."
            )
        if columns.count(column) > 1:
            raise UnreadableSourceError(f"{name} has the column {column} twice: keep one.")
    missing = [column for column in _REQUIRED_COLUMNS if column not in columns]
    if missing:
        raise UnreadableSourceError(
            f"{name} lacks the column {missing[0]}: add a header with at least {', '.join(_REQUIRED_COLUMNS)}."
        )
