"""An ERP that never pauses: inserts, corrections, replacements and deletions of events in closed days, in a process.

``python -m analytics_pipeline_tests.writer URL PAUSE SEED`` until it gets SIGTERM. Each change is a transaction, which
writes its own number and the instant it touches into ``test_writes``: so a test knows which were committed when.
"""

import random
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from subprocess import Popen

import psycopg
from psycopg.types.json import Jsonb

from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline_tests.events_factory import at

COMPANIES = ("acme", "beta", "gamma")
FIRST, DAYS = at("2025-01-01"), 59
# What a writer touches: the mornings of two days of each month, so that what is stale is closed again by few runs.
_TOUCHED_DAYS = (4, 5, 40, 41)
_TOUCHED_MINUTES = range(8 * 60, 12 * 60)
_KINDS = (
    ("payment.received", "revenue", "EUR"),
    ("payment.refunded", "revenue", "EUR"),
    ("invoice.created", "billing", "EUR"),
    ("crypto.received", "crypto", "BTC"),
    ("user.login", "user_activity", None),
    ("user.deleted", "user_activity", None),
    ("subscription.started", "subscription", "EUR"),
    ("subscription.changed", "subscription", "EUR"),
    ("subscription.ended", "subscription", "EUR"),
)
INSERT = (
    'INSERT INTO analytics_events (event_id, "timestamp", company_id, user_id, event_type, category, value, currency, '
    "metadata) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def prepare(connection: Connection, events: int = 600) -> None:
    """Write a history over all companies and days, and the table of writes; the oldest week is compressed."""
    chance = random.Random(1)  # noqa: S311
    connection.execute("CREATE TABLE test_writes (xid xid8 DEFAULT pg_current_xact_id(), touched timestamptz)")
    for _ in range(events):
        connection.execute(INSERT, make_event(chance, chance.randrange(DAYS), chance.randrange(1440)))
    connection.execute("SELECT compress_chunk(c) FROM show_chunks('analytics_events') AS c ORDER BY c LIMIT 1")


@contextmanager
def writing(url: str, *, pause: float, seed: int = 7) -> Iterator[None]:
    """Let a writer run for the length of the block; it has written when the block begins."""
    process = Popen([sys.executable, "-m", __name__, url, str(pause), str(seed)])
    try:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
            while connection.execute("SELECT count(*) FROM test_writes").fetchone() == (0,):
                assert process.poll() is None, "the writer has ended"
                time.sleep(0.1)
        yield
        assert process.poll() is None, "the writer has ended"
    finally:
        process.terminate()
        process.wait()


def make_event(chance: random.Random, day: int, minute: int) -> list[object]:
    """Return the parameters of INSERT for an event of a day of the history."""
    kind, category, currency = chance.choice(_KINDS)
    metadata = {}
    if category == "subscription":
        metadata = {
            "subscription_id": f"s{chance.randrange(12)}",
            "status": "ended" if kind == "subscription.ended" else "active",
            "interval": "month",
            "interval_count": 1,
            "quantity": 1,
        }
    user = None if category == "subscription" and chance.random() < 0.3 else f"u{chance.randrange(40)}"
    value = None if currency is None else chance.randrange(1, 10_000) / 100
    instant = FIRST + timedelta(days=day, minutes=minute)
    return [
        uuid.UUID(int=chance.getrandbits(128)), instant, chance.choice(COMPANIES), user, kind, category,
        -value if kind == "payment.refunded" and value else value, currency, Jsonb(metadata),
    ]  # fmt: skip


def _change(connection: Connection, chance: random.Random) -> None:
    """Insert an event, or correct, replace or delete one."""
    event = make_event(chance, chance.choice(_TOUCHED_DAYS), chance.choice(_TOUCHED_MINUTES))
    instant: object = event[1]
    what = chance.choice(("insert", "insert", "correct", "replace", "delete"))
    if what != "insert":
        found = connection.execute(
            'SELECT event_id, "timestamp", company_id FROM analytics_events WHERE "timestamp" >= %s '
            "AND \"timestamp\" < time_bucket('1 day', %s) + interval '12 hours' ORDER BY \"timestamp\" LIMIT 1",
            [instant, instant],
        ).fetchone()
        if found is None:
            return
        of_event = 'WHERE event_id = %s AND "timestamp" = %s AND company_id = %s'
        instant = found[1]
        if what == "correct":
            connection.execute(f"UPDATE analytics_events SET value = value + 1 {of_event}", found)
        else:
            connection.execute(f"DELETE FROM analytics_events {of_event}", found)
            event[0], event[1], event[2] = found
    if what in ("insert", "replace"):
        connection.execute(INSERT, event)
    connection.execute("INSERT INTO test_writes (touched) VALUES (%s)", [instant])


def _run(url: str, pause: float, seed: int) -> None:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    chance = random.Random(seed)  # noqa: S311
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        while not stopped:
            with connection.transaction():
                _change(connection, chance)
            time.sleep(pause)


def touched_since(connection: Connection, snapshot: str) -> list[datetime]:
    """Return the instants that writes have touched whose transactions a snapshot does not see."""
    query = "SELECT touched FROM test_writes WHERE NOT pg_visible_in_snapshot(xid, %s::pg_snapshot)"
    return [instant for (instant,) in connection.execute(query, [snapshot])]


if __name__ == "__main__":
    _run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
