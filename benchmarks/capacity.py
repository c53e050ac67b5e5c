"""What a year of some size takes: disk, memory, and the time to refresh, close, correct and answer; and how that grows.

    ANALYTICS_DATABASE_URL=postgresql://... python benchmarks/capacity.py [--events N ...] [--again]

Each size is measured in a process and a database of its own, which is dropped: events spread over a year, a company for
10,000 of them, a user for 100, a subscription for 50. Seconds are the processor time of the server's process, which
has no workers beside it, and of ours: they hold on a busy machine, too. Of a server on another machine, whose process
can't be seen, they are elapsed time. What was measured is kept in benchmarks/results.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path
from time import perf_counter, process_time

from _database import database, server_url
from _history import YEAR, close, fill
from _results import Results

from analytics_pipeline.database import connect
from analytics_pipeline.health.figures import reconciles_with_events
from analytics_pipeline.metrics.answers import revenue_answer, users_answer
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.chunks import chunks_of, compress
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window

EVENTS_OF_A_COMPANY = 10_000
EVENTS_OF_A_USER = 100
EVENTS_OF_A_SUBSCRIPTION = 50
# Each ends with what it is in.
LINES = {
    "events, with indexes, MB": "disk: events, not compressed",
    "events compressed, MB": "disk: events, compressed",
    "aggregates, MB": "disk: continuous aggregates",
    "metric tables, users and subscriptions, MB": "disk: metric tables, users, subscriptions",
    "refresh of the year, s": "every aggregate of the year refreshed",
    "close of the year, s": "users, subscriptions, metric tables of the year",
    "proof of the year, s": "every aggregate compared with its events",
    "a day refreshed again after a late event, s": "a day of every level refreshed again after a late event",
    "revenue of a month, s": "revenue answer of a month, all companies",
    "users of a month, s": "user answer of a month, all companies",
    "server process, MB": "memory: most that the server's process had of its own",
    "own process, MB": "memory: most that our process had",
}
_TABLES = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)
FROM pg_class AS c
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
  AND (c.relname LIKE 'analytics\\_%metrics' OR c.relname IN (
      'analytics_mrr_movements', 'analytics_users', 'analytics_user_days', 'analytics_user_deletions',
      'analytics_subscriptions', 'analytics_mrr_snapshots'
  ))
"""
_AGGREGATES = "SELECT sum(total_bytes) FROM analytics_operations_relations WHERE kind = 'aggregate'"
_LATE_EVENT = """
INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency)
VALUES (gen_random_uuid(), %s, 'company-1', 'user-1', 'payment.received', 'revenue', 5, 'EUR')
"""
_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure what has not been measured, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--again", action="store_true", help="Measure again what was measured before.")
    parser.add_argument("--measure", type=int, metavar="N", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure)))
        return
    results = Results("capacity", again=arguments.again)
    table: dict[str, dict[int, float]] = {line: {} for line in LINES}
    for events in arguments.events:
        names = {line: f"{events:,} events: {line}" for line in LINES}
        if not all(map(results.has, names.values())):
            found = _in_a_process(events)
            for line, name in names.items():
                results.keep_figure(name, found[line], line.rsplit(", ", 1)[1])
        for line, name in names.items():
            table[line][events] = results.value(name)
    _print(table)


def measure(events: int) -> dict[str, float]:
    """Return what a year of so many events takes, by the names of the lines."""
    server = server_url()
    os.environ["ANALYTICS_RETENTION"] = os.environ["ANALYTICS_COMPRESS_AFTER"] = "never"
    with database(server), connect(autocommit=True) as connection:
        # The work of one process is what can be measured.
        connection.execute("SET max_parallel_workers_per_gather = 0")
        connection.execute("SET max_parallel_maintenance_workers = 0")
        fill(
            connection,
            events,
            subscriptions=events // EVENTS_OF_A_SUBSCRIPTION,
            companies=max(1, events // EVENTS_OF_A_COMPANY),
        )
        found = {"events, with indexes, MB": _size(connection, "SELECT hypertable_size('analytics_events')")}
        clock = _clock(connection)
        found["refresh of the year, s"] = _seconds(clock, lambda: _refresh(connection, YEAR))
        found["close of the year, s"] = _seconds(clock, lambda: close(connection))
        found["proof of the year, s"] = _seconds(clock, lambda: _prove(connection))
        found["aggregates, MB"] = _size(connection, _AGGREGATES)
        found["metric tables, users and subscriptions, MB"] = _size(connection, _TABLES)
        day = datetime(2025, 10, 16, tzinfo=UTC)
        connection.execute(_LATE_EVENT, [day])
        found["a day refreshed again after a late event, s"] = _seconds(
            clock, lambda: _refresh(connection, Window(day, day + timedelta(days=1)))
        )
        month = Window(datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC))
        found["revenue of a month, s"] = _seconds(clock, lambda: revenue_answer(connection, None, month, "EUR"))
        found["users of a month, s"] = _seconds(clock, lambda: users_answer(connection, None, month))
        found["server process, MB"] = _own_memory(connection)
        for chunk in chunks_of(connection, YEAR):
            compress(connection, chunk)
        found["events compressed, MB"] = _size(connection, "SELECT hypertable_size('analytics_events')")
    found["own process, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def _in_a_process(events: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(events)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _refresh(connection: Connection, window: Window) -> None:
    for granularity in Granularity:
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity:
                refresh(connection, aggregate, window.widen(granularity))


def _prove(connection: Connection) -> None:
    for aggregate in AGGREGATES:
        assert reconciles_with_events(connection, get_settings(), aggregate, YEAR).passed


def _clock(connection: Connection) -> Callable[[], float]:
    """Return a clock of the processor time of the server's process and of this one, or of the time that passes."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat")
    if not stat.exists() or "postgres" not in stat.read_text():
        return perf_counter

    def used() -> float:
        fields = stat.read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS + process_time()

    return used


def _seconds(clock: Callable[[], float], work: Callable[[], object]) -> float:
    started = clock()
    work()
    return clock() - started


def _own_memory(connection: Connection) -> float:
    """Return the most memory that the server's process has had, without what all of them share, in MB; 0: not seen."""
    status = Path(f"/proc/{connection.info.backend_pid}/status")
    if not status.exists():
        return 0.0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    peak, shared = (int(fields[name].split()[0]) for name in ("VmHWM", "RssShmem"))
    return max(peak - shared, int(fields["RssAnon"].split()[0])) / 1024


def _size(connection: Connection, query: str) -> float:
    return float(fetch_row(connection, query.encode())[0]) / 1e6


def _print(table: dict[str, dict[int, float]]) -> None:
    sizes = sorted(next(iter(table.values())))
    print("| | " + " | ".join(f"{size:,}" for size in sizes) + " | grows with events to the power of |")
    print("|---" * (len(sizes) + 2) + "|")
    for title, of in (
        ("events a day", lambda size: size / 365),
        ("companies", lambda size: size / EVENTS_OF_A_COMPANY),
        ("users", lambda size: size / EVENTS_OF_A_USER),
    ):
        print(f"| {title} | " + " | ".join(f"{of(size):,.0f}" for size in sizes) + " | |")
    for line, found in table.items():
        unit = line.rsplit(", ", 1)[1]
        digits = 1 if unit == "MB" else 2
        values = " | ".join(f"{found[size]:,.{digits}f} {unit}" for size in sizes)
        print(f"| {LINES[line]} | {values} | {_growth(found):.2f} |")


def _growth(found: dict[int, float]) -> float:
    """Return the exponent of the power of the size that fits best: 1 is proportional, 0 no growth."""
    points = [(log(size), log(value)) for size, value in found.items() if value > 0]
    if len(points) <= 1:
        return float("nan")
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


if __name__ == "__main__":
    main()
