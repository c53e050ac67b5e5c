"""Compressing and decompressing the chunks of raw events, one at a time."""

from dataclasses import dataclass

from analytics_pipeline.ages import NEVER
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.policies import policy_values
from analytics_pipeline.windows import Window


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of raw events: its quoted name, the half-open range of its events, its size with indexes in bytes."""

    name: str
    window: Window
    is_compressed: bool
    bytes: int


def chunks_of(connection: Connection, window: Window) -> list[Chunk]:
    """Return the chunks of raw events that touch a half-open window, in order."""
    rows = connection.execute(load_query("event_chunk_sizes"), {"start": window.start, "end": window.end})
    return [Chunk(name, Window(start, end), *state) for name, start, end, *state in rows]


def compress(connection: Connection, chunk: Chunk) -> Chunk:
    """Compress a chunk and return it as it is then; harmless when it is compressed. Autocommit connection."""
    connection.execute("SELECT compress_chunk(%s::regclass, if_not_compressed => true)", [chunk.name])
    return _again(connection, chunk)


def decompress(connection: Connection, chunk: Chunk) -> Chunk:
    """Decompress a chunk and return it as it is then; harmless when it isn't compressed. Autocommit connection."""
    connection.execute("SELECT decompress_chunk(%s::regclass, if_compressed => true)", [chunk.name])
    return _again(connection, chunk)


def compressed_by_policy(connection: Connection, chunks: list[Chunk]) -> list[Chunk]:
    """Return the chunks that the compression policy, as it is wanted, compresses in its next run."""
    age = policy_values(connection).compress_after
    if age == NEVER:
        return []
    (limit,) = fetch_row(connection, "SELECT now() - %s::interval", [age])
    return [chunk for chunk in chunks if chunk.window.end <= limit]


def _again(connection: Connection, chunk: Chunk) -> Chunk:
    return next(found for found in chunks_of(connection, chunk.window) if found.name == chunk.name)
