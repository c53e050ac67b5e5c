"""Lines parsed by processes beside this one give the same as lines parsed here, whatever becomes of the processes."""

import json
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics_pipeline.events import ingest as module
from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.copy_rows import HEADER, TRAILER, CopyRows
from analytics_pipeline.events.ingest import IngestSummary, SourcesUnreadableError, ingest
from analytics_pipeline.events.line_workers import Chunk, LineWorkers, parse_chunk
from analytics_pipeline.events.lines import line_record
from analytics_pipeline.events.model import FIELDS, AnalyticsEvent, Parsing, parse_event
from analytics_pipeline.events.plain_lines import read_plain_lines
from analytics_pipeline.events.sources import Source
from analytics_pipeline.intake.bounded_lines import MAX_LINE_BYTES
from analytics_pipeline.intake.rejection import RejectedEvent
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.conftest import SERVER_URL, Database
from analytics_pipeline_tests.events.sample_records import json_lines, payment
from analytics_pipeline_tests.events.test_mutated_files import mutated, raws

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class ReadyWorkers(LineWorkers):
    """Processes that are waited for, so that they are what parses."""

    kill_at = -1
    parsed = 0

    def __init__(self, parsing: Parsing, count: int) -> None:
        super().__init__(parsing, count)
        deadline = time.monotonic() + 60
        while not self.are_ready and time.monotonic() < deadline:
            time.sleep(0.01)

    def submit(self, chunk: Chunk) -> Any:
        if type(self).parsed == self.kill_at:
            for process in self._processes:
                process.kill()
                process.wait()
        type(self).parsed += 1
        return super().submit(chunk)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> type[ReadyWorkers]:
    """Let small files be parsed by processes, in small batches."""
    monkeypatch.setattr(module, "_BYTES_FOR_WORKERS", 0)
    monkeypatch.setattr(module, "BATCH_EVENTS", 600)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(module, "LineWorkers", ReadyWorkers)
    monkeypatch.setattr(ReadyWorkers, "parsed", 0)
    return ReadyWorkers


def load(connection: Connection, path: Path, name: str, **options: Any) -> tuple[IngestSummary, Any, Any]:
    """Ingest a file and return what came of it: the summary, the rows, the rejects."""
    rejects = path.parent / f"{name}.jsonl"
    try:
        summary = ingest([Source.of(path)], connection, rejects_path=rejects, **options)
    except SourcesUnreadableError as error:
        summary = error.summary
    rows = connection.execute(
        'SELECT event_id, "timestamp", company_id, user_id, event_type, category, value::text, currency, metadata::text'
        " FROM analytics_events ORDER BY 1, 2"
    ).fetchall()
    kept = sorted(rejects.read_text().splitlines()) if rejects.exists() else []
    summary.seconds = 0
    return summary, rows, kept


def odd_file(path: Path) -> None:
    """Write events among all that a file of lines may hold besides."""
    rng = random.Random(7)  # noqa: S311
    raws = [
        payment(
            event_id=f"evt-{number}" if number % 3 else f"{number:032x}",
            timestamp=f"2025-01-{1 + number % 28:02}T10:00:00.{'1234567' if number % 5 else '5'}Z",
            value=rng.choice(["1.10", "12.340000000000000000000", "x"]) if number % 50 == 0 else f"{number}.50",
            metadata={"n": rng.choice([1, "Größe \u2028", None, [1], {"a": "\x01"}])},
        )
        for number in range(3_000)
    ]
    lines = [line.encode() for line in json_lines(raws).splitlines(keepends=True)]
    lines[100] = b'{"a": 1, "a": 2}\n'
    lines[200] = b"\n"
    lines[300] = b"\0" * 50 + lines[300]
    lines[400] = b" " * (MAX_LINE_BYTES + 1) + b"\n"
    lines[500] = b"x" * (MAX_LINE_BYTES + 1) + b"\n"
    lines[600] = lines[600].replace(b"acme", b"ac\xffme")
    lines[-1] = lines[-1].rstrip(b"\n")
    path.write_bytes(b"".join(lines))


@pytest.mark.slow
def test_processes_change_nothing_but_the_time(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: type[ReadyWorkers]
) -> None:
    path = tmp_path / "a.jsonl"
    odd_file(path)
    with monkeypatch.context() as alone:
        alone.setattr(os, "sched_getaffinity", lambda _: {0})
        expected = load(connection, path, "alone")
    assert (workers.parsed, len(expected[2])) == (0, expected[0].rejected)
    connection.execute("DELETE FROM analytics_events")
    connection.execute("DELETE FROM analytics_ingest_rejects")
    assert load(connection, path, "beside") == expected
    assert workers.parsed >= 4 or not SERVER_URL
    # Known by now: the first batch says so, and its lines take the way of all others.
    summary, rows, kept = load(connection, path, "again")
    assert (summary.new, summary.already_there) == (0, expected[0].new + expected[0].already_there)
    assert (rows, kept) == expected[1:]


@pytest.mark.slow
def test_a_known_event_in_a_batch_is_compared(
    connection: Connection, tmp_path: Path, workers: type[ReadyWorkers]
) -> None:
    raws = [payment() for _ in range(2_000)]
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([{**raws[1_500], "value": "1"}]))
    load(connection, path, "first")
    path.write_text(json_lines(raws))
    summary, _, (kept,) = load(connection, path, "second")
    assert (summary.new, summary.conflicts, json.loads(kept)["line"]) == (1_999, 1, 1_501)
    assert load(connection, path, "third", on_conflict=OnConflict.REPLACE)[0].replaced == 1


@pytest.mark.slow
def test_a_process_that_dies_loses_nothing(
    connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: type[ReadyWorkers]
) -> None:
    monkeypatch.setattr(ReadyWorkers, "kill_at", 1)
    path = tmp_path / "a.jsonl"
    path.write_text(json_lines([*(payment() for _ in range(3_000)), payment(value="x")]))
    summary, rows, _ = load(connection, path, "a")
    assert (summary.new, summary.rejected, len(rows)) == (3_000, 1, 3_000)


@pytest.mark.slow
def test_the_processes_end_with_what_they_were_started_for() -> None:
    with ReadyWorkers(Parsing(), 2) as workers:
        parsed = workers.submit(Chunk(1, json_lines([payment(), payment(value="x")]).encode(), NOW)).result()
        assert parsed is not None
        assert (parsed.events, parsed.rejected) == (1, [2])
    assert [process.returncode for process in workers._processes] == [0, 0]


def test_rows_are_those_that_the_driver_would_send(connection: Connection) -> None:
    raw = payment(value="-0.00012345", user_id=None, event_type="payment.disputed", metadata={"n": 10**30, "e": "ü\n"})
    parsed = parse_chunk(Chunk(1, json_lines([raw]).encode(), NOW), Parsing())
    assert parsed.rows == CopyRows().encode([parse_event(raw)])
    if not SERVER_URL:
        return
    with connection.cursor() as cursor, cursor.copy(psycopg.sql.SQL(COPY)) as copy:
        copy.write(HEADER + parsed.rows + TRAILER)
    row = connection.execute("SELECT event_id::text, value::text, metadata::text FROM analytics_events").fetchone()
    assert row == (raw["event_id"], "-0.00012345", '{"e": "ü\\n", "n": 1000000000000000000000000000000}')


@pytest.mark.slow
def test_a_line_that_is_read_at_once_gives_what_careful_reading_gives() -> None:
    """Of odd records, bytes that are mutated, and keys that are left out, repeated, or followed by blanks."""
    rng = random.Random(3)  # noqa: S311
    data = b"".join(changed_keys(rng, raw) for _ in range(1_000) for raw in raws(rng))
    data += b"".join(mutated(rng, json_lines(raws(rng)).encode("utf-8", "surrogatepass")) for _ in range(300))
    lines = list(read_plain_lines(data))
    assert len(lines) / 4 < sum(fields is not None for _, fields in lines) < len(lines) * 0.9
    for line, fields in lines:
        ((_, alone),) = read_plain_lines(line)
        assert repr(alone) == repr(fields)
        if fields is not None:
            content = line_record(1, line).content
            assert not isinstance(content, RejectedEvent), line
            assert content.keys() <= FIELDS
            assert repr(fields) == repr(tuple(map(content.get, AnalyticsEvent._fields))), line


def changed_keys(rng: random.Random, raw: dict[str, Any]) -> bytes:
    """Return the line of a record some of whose keys are missing, twice, in another object, or before a blank."""
    for name in rng.choices([*raw], k=rng.choice((0, 0, 1, 2))):
        raw.pop(name, None)
    parts = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in raw.items()]
    for _ in range(rng.choice((0, 0, 1))):
        parts.append(rng.choice([*parts, '"metadata":{"a":{"b":1}}', '"metadata":{"a":1,"a":2}', '"metadata":{}']))
    line = ",".join(parts)
    if rng.random() < 0.1:
        line = line.replace('":', rng.choice(('" :', '"\\t:', '": ', '\\":')), 1)
    return f"{{{line}}}\n".encode("utf-8", "surrogatepass")


COPY = """
COPY analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata)
FROM STDIN (FORMAT binary)
"""
