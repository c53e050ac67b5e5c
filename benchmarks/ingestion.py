"""Validated ingestion of a file beside a plain binary COPY of the same rows into the same hypertable.

The raw limit stores the same rows, ready as Python tuples, without parsing, checking or looking for those already
there: COPY, or jsonb_to_recordset where COPY is refused. Works in a schema of its own, which it drops, on
ANALYTICS_DATABASE_URL or the embedded database; what was measured before is kept in benchmarks/results.

    python benchmarks/ingestion.py [--rows N ...] [--rounds 3] [--again]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from uuid import UUID

import psycopg
from _results import Results, seconds
from psycopg import sql
from psycopg.types.json import Jsonb

from analytics_pipeline.database import connect
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.model import AnalyticsEvent, parse_event
from analytics_pipeline.events.sources import Source
from analytics_pipeline.sql_files import load_query, load_sql
from analytics_pipeline.timescale.connection import Connection

SCHEMA = "benchmark_ingestion"
YEAR_SECONDS = 365 * 86_400
RAW_BATCH = 10_000
MANY_ROWS = 1_000_000
LINES = ("validated ingestion of a file", "the same file again", "peak memory over all processes")
TYPES = ("uuid", "timestamptz", "text", "text", "text", "text", "numeric", "text", "jsonb")

Load = Callable[[Connection, Sequence[AnalyticsEvent]], None]


def main() -> None:
    """Measure what has not been measured, and print every line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="Of up to a million rows; of more there is one.")
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    arguments = parser.parse_args()
    results = Results("ingestion", again=arguments.again)
    print("   ratio         ours       raw COPY")
    for rows in arguments.rows:
        new, known, memory = (f"{what}, {rows:,} rows" for what in LINES)
        rounds = arguments.rounds if rows <= MANY_ROWS else 1
        if not (results.has(new) and results.has(known)):
            with prepared(rows) as (connection, path):
                load = raw_load(connection)
                times = [
                    (measure_raw(connection, load, path), *measure_ingestion(connection, path)) for _ in range(rounds)
                ]
            raw, first, again = map(median, zip(*times, strict=True))
            results.keep(new, first, raw)
            results.keep(known, again, raw)
        if not results.has(memory):
            with prepared(rows) as (_, path):
                results.keep_figure(memory, measure_memory(path) / 1e6, "MB")
        for name in (new, known, memory):
            results.show(name)


@contextmanager
def prepared(rows: int) -> Iterator[tuple[Connection, Path]]:
    """Give a connection to the empty tables, and a file of so many events."""
    with tempfile.TemporaryDirectory() as folder, connect(autocommit=True) as connection:
        path = Path(folder) / "events.jsonl"
        write_events(path, rows)
        set_up(connection)
        try:
            yield connection, path
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(SCHEMA)))


def write_events(path: Path, rows: int) -> None:
    """Write a year of payments of seven companies, in order of time."""
    rng = random.Random(1)  # noqa: S311 - nothing is kept secret with it
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=YEAR_SECONDS)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            raw = {
                "event_id": str(UUID(int=rng.getrandbits(128))),
                "timestamp": (start + timedelta(seconds=number * YEAR_SECONDS // rows)).isoformat(),
                "company_id": f"company-{number % 7}",
                "user_id": f"user-{rng.randrange(5_000)}",
                "event_type": "payment.received",
                "category": "revenue",
                "value": f"{rng.randrange(1, 99_999) / 100:.2f}",
                "currency": "EUR",
                "metadata": {"method": "card", "items": rng.randrange(1, 9)},
            }
            file.write(json.dumps(raw) + "\n")


def set_up(connection: Connection) -> None:
    """Create the tables of the program in the benchmark's schema, and nothing that hangs on them."""
    schema = sql.Identifier(SCHEMA)
    connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    connection.execute(sql.SQL("SET search_path = {}, public").format(schema))
    for migration in ("0002_events", "0004_ingest_rejects", "0034_id_aliases"):
        connection.execute(load_sql(f"migrations/{migration}.sql"))


def raw_load(connection: Connection) -> Load:
    """Return the fastest plain way the server has."""
    try:
        with connection.transaction():
            copy(connection, [])
    except psycopg.errors.FeatureNotSupported:
        return recordset
    return copy


def copy(connection: Connection, events: Sequence[AnalyticsEvent]) -> None:
    """Store the rows with binary COPY."""
    statement = load_query("ingest_copy").replace("_staging", "").replace("position, ", "")
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as stream:
        stream.set_types(TYPES)
        for event in events:
            stream.write_row((*event[:8], Jsonb(event.metadata)))


def recordset(connection: Connection, events: Sequence[AnalyticsEvent]) -> None:
    """Store the rows with jsonb_to_recordset, batch by batch."""
    statement = load_query("ingest_insert_recordset").partition("ON CONFLICT")[0]
    for start in range(0, len(events), RAW_BATCH):
        rows = [event._asdict() for event in events[start : start + RAW_BATCH]]
        connection.execute(statement, [json.dumps(rows, default=str)])


def measure_raw(connection: Connection, load: Load, path: Path) -> float:
    """Return the seconds of the raw way into the empty hypertable, of a million rows at a time: they are in memory."""
    connection.execute("TRUNCATE analytics_events")
    taken = 0.0
    with path.open("rb") as file:
        while events := [parse_event(json.loads(line)) for line in islice(file, MANY_ROWS)]:
            taken += seconds(partial(load, connection, events))
    return taken


def measure_ingestion(connection: Connection, path: Path) -> tuple[float, float]:
    """Return the seconds of ingesting the file into the empty hypertable, and of ingesting its beginning again.

    The second are those of as many rows: of a million, since all of them are compared one by one.
    """
    connection.execute("TRUNCATE analytics_events")
    rejects = path.with_name("rejects.jsonl")
    started = perf_counter()
    first = ingest([Source.of(path)], connection, rejects_path=rejects)
    taken = perf_counter() - started
    beginning = path.with_name("beginning.jsonl")
    with path.open("rb") as whole, beginning.open("wb") as part:
        part.writelines(islice(whole, MANY_ROWS))
    started = perf_counter()
    again = ingest([Source.of(beginning)], connection, rejects_path=rejects)
    taken_again = perf_counter() - started
    assert (first.rejected, again.new, again.already_there) == (0, 0, again.read)
    return taken, taken_again * first.read / again.read


INGEST = """
import sys
from pathlib import Path
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.database import connect
with connect(autocommit=True) as connection:
    connection.execute("SELECT set_config('search_path', %s, false)", [sys.argv[3]])
    ingest([Source.of(sys.argv[1])], connection, rejects_path=Path(sys.argv[2]))
"""


def measure_memory(path: Path) -> int:
    """Return the most bytes that ingesting the file into the empty hypertable holds in memory at any time."""
    arguments = [sys.executable, "-c", INGEST, str(path), str(path.with_name("rejects.jsonl")), f"{SCHEMA}, public"]
    peak = 0
    with subprocess.Popen(arguments) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(resident_bytes, processes_of(process.pid))))
            sleep(0.05)
    assert process.returncode == 0
    return peak


def processes_of(pid: int) -> list[int]:
    """Return a process and all that it has started, themselves and by others."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [each for child in children.read_text().split() for each in processes_of(int(child))]
    return found


def resident_bytes(pid: int) -> int:
    """Return the memory of a process, 0 once it has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


if __name__ == "__main__":
    main()
