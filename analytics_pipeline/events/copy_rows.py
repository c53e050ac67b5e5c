"""Events as the rows that binary COPY takes, encoded by psycopg without a connection."""

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg._copy_base import format_row_binary
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format
from psycopg.types.string import BytesBinaryDumper

from analytics_pipeline.events.exact_json import encode_json
from analytics_pipeline.events.model import AnalyticsEvent

# Binary COPY converts nothing on the way: the types of the columns of events, in order.
EVENT_TYPES = ("uuid", "timestamptz", "text", "text", "text", "text", "numeric", "text", "jsonb")

# What begins and ends a stream of rows.
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


# The version of the binary form of ``jsonb`` that is followed by JSON text.
_JSONB_VERSION = b"\x01"


class _UuidBytes(BytesBinaryDumper):
    """Sends bytes as they are as the value of a ``uuid`` column."""

    oid = psycopg.adapters.types["uuid"].oid


class _JsonbBytes(BytesBinaryDumper):
    """Sends bytes as they are as the value of a ``jsonb`` column."""

    oid = psycopg.adapters.types["jsonb"].oid


class CopyRows:
    """Encodes events; each kind of value is looked up once."""

    def __init__(self) -> None:
        """Choose the encodings of the columns."""
        adapters = AdaptersMap(psycopg.adapters)
        adapters.register_dumper(bytes, _UuidBytes)
        adapters.register_dumper(bytes, _JsonbBytes)
        context: Any = SimpleNamespace(adapters=adapters, connection=None)
        self._transformer = Transformer(context)
        self._transformer.set_dumper_types([adapters.types[name].oid for name in EVENT_TYPES], Format.BINARY)

    def encode(self, events: Iterable[AnalyticsEvent]) -> bytes:
        """Return the rows, without what begins and ends a stream of them."""
        rows = bytearray()
        transformer = self._transformer
        for event_id, *fields, metadata in events:
            row = (event_id.bytes, *fields, _JSONB_VERSION + encode_json(metadata))
            format_row_binary(row, transformer, rows)
        return bytes(rows)
