"""Rows per second of ingestion, next to what the server and psycopg can do at most, in the same run.

The raw limit stores the same rows, ready as Python tuples, without parsing, checking or looking for those
already there: COPY into a hypertable of the same shape, or jsonb_to_recordset where COPY is refused. Works in a
schema of its own, which it drops, on ANALYTICS_DATABASE_URL or the embedded database.

    python benchmarks/ingestion.py [--rows 200000] [--repeat 3]
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from analytics_pipeline.database import connect
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.model import AnalyticsEvent, parse_event
from analytics_pipeline.events.sources import Source
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection

SCHEMA = "benchmark_ingestion"
YEAR_SECONDS = 365 * 86_400
RAW_BATCH = 10_000
TYPES = ("uuid", "timestamptz", "text", "text", "text", "text", "numeric", "text", "jsonb")

Load = Callable[[Connection, Sequence[AnalyticsEvent]], None]


def main() -> None:
    """Measure both, alternating, and print the median of each and the ratio."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder, connect(autocommit=True) as connection:
        path = Path(folder) / "events.jsonl"
        events = write_events(path, arguments.rows)
        set_up(connection)
        try:
            load = raw_load(connection)
            raw, ours = [], []
            for _ in range(arguments.repeat):
                raw.append(measure_raw(connection, load, events))
                ours.append(measure_ingestion(connection, path, Path(folder) / "rejects.jsonl", len(events)))
            connection.execute("TRUNCATE analytics_events")
            memory = measure_memory(path, Path(folder) / "rejects.jsonl")
            again = ingest([Source.of(path)], connection, rejects_path=Path(folder) / "rejects.jsonl")
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(SCHEMA)))
    print(f"rows                     {arguments.rows:>9,}  ({path.suffix}, median of {arguments.repeat})")
    print(f"{load.__name__.replace('_', ' '):<24} {median(raw):>9,.0f} rows/s, the raw limit")
    print(f"ingest                   {median(ours):>9,.0f} rows/s, {median(ours) / median(raw):.0%} of it")
    print(f"ingest, peak memory      {memory / 1e6:>9,.0f} MB, all processes")
    print(f"ingest, already there    {again.rows_per_second:>9,.0f} rows/s")


def parse_arguments() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    return parser.parse_args()


def write_events(path: Path, rows: int) -> list[AnalyticsEvent]:
    """Write a year of payments of seven companies, in order of time, and return them."""
    rng = random.Random(1)  # noqa: S311 - nothing is kept secret with it
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=YEAR_SECONDS)
    events = []
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
            events.append(parse_event(raw))
    return events


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
    statement = load_sql("queries/ingest_copy.sql").replace("_staging", "").replace("position, ", "")
    with connection.transaction(), connection.cursor() as cursor, cursor.copy(statement) as stream:
        stream.set_types(TYPES)
        for event in events:
            stream.write_row((*event[:8], Jsonb(event.metadata)))


def recordset(connection: Connection, events: Sequence[AnalyticsEvent]) -> None:
    """Store the rows with jsonb_to_recordset, batch by batch."""
    statement = load_sql("queries/ingest_insert_recordset.sql").partition("ON CONFLICT")[0]
    for start in range(0, len(events), RAW_BATCH):
        rows = [event._asdict() for event in events[start : start + RAW_BATCH]]
        connection.execute(statement, [json.dumps(rows, default=str)])


def measure_raw(connection: Connection, load: Load, events: Sequence[AnalyticsEvent]) -> float:
    """Return rows per second of the raw way into the empty hypertable."""
    connection.execute("TRUNCATE analytics_events")
    started = perf_counter()
    load(connection, events)
    return len(events) / (perf_counter() - started)


def measure_ingestion(connection: Connection, path: Path, rejects: Path, expected: int) -> float:
    """Return rows per second of ingesting the file into the empty hypertable."""
    connection.execute("TRUNCATE analytics_events")
    summary = ingest([Source.of(path)], connection, rejects_path=rejects)
    assert (summary.new, summary.rejected) == (expected, 0)
    return summary.rows_per_second


INGEST = """
import sys
from pathlib import Path
from analytics_pipeline.events.ingest import ingest
from analytics_pipeline.events.sources import Source
from analytics_pipeline.timescale.connection import connect
with connect(autocommit=True) as connection:
    connection.execute("SELECT set_config('search_path', %s, false)", [sys.argv[3]])
    ingest([Source.of(sys.argv[1])], connection, rejects_path=Path(sys.argv[2]))
"""


def measure_memory(path: Path, rejects: Path) -> int:
    """Return the most bytes that ingesting the file into the empty hypertable holds in memory at any time."""
    arguments = [sys.executable, "-c", INGEST, str(path), str(rejects), f"{SCHEMA}, public"]
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
