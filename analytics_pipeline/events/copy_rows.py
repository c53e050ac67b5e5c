"""Events as the rows that binary COPY takes, encoded by psycopg without a connection.

Belongs here: the columns' types, and their encoding. Does not belong here: transactions (``load``).
"""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg._copy_base import format_row_binary
from psycopg.adapt import AdaptersMap, Dumper, Transformer
from psycopg.pq import Format

from analytics_pipeline.events.json_text import encode_json
from analytics_pipeline.events.model import AnalyticsEvent

# Binary COPY converts nothing on the way: the types of the columns of events, in order.
EVENT_TYPES = ("uuid", "timestamptz", "text", "text", "text", "text", "numeric", "text", "jsonb")

# What begins and ends a stream of rows.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


class _JsonbDumper(Dumper):
    """Sends JSON text, as bytes, as the value of a ``jsonb`` column."""

    format = Format.BINARY
    oid = psycopg.adapters.types["jsonb"].oid

    def dump(self, obj: bytes) -> bytes:
        return b"\x01" + obj


class CopyRows:
    """Encodes events; each kind of value is looked up once."""

    def __init__(self) -> None:
        """Choose the encodings of the columns."""
        adapters = AdaptersMap(psycopg.adapters)
        adapters.register_dumper(bytes, _JsonbDumper)
        context: Any = SimpleNamespace(adapters=adapters, connection=None)
        self._transformer = Transformer(context)
        self._transformer.set_dumper_types([adapters.types[name].oid for name in EVENT_TYPES], Format.BINARY)

    def encode(self, events: Iterable[AnalyticsEvent]) -> bytes:
        """Return the rows, without what begins and ends a stream of them."""
        rows = bytearray()
        transformer = self._transformer
        for event in events:
            format_row_binary((*event[:8], encode_json(event.metadata)), transformer, rows)
        return bytes(rows)
