"""Strikes at the database in the middle of a statement: at a moment that is known, because a lock holds it there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psycopg

from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline_tests.orchestration.faults.platform_run import EVENTS

_WAITS = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE 'analytics_pipeline%'
)
"""


def waits_for_lock(connection: Connection) -> bool:
    """Tell whether a statement of the program waits for a lock."""
    row = connection.execute(_WAITS).fetchone()
    return row == (True,)


def is_taken_in(connection: Connection) -> bool:
    """Tell whether a part of the month is in, and another is not."""
    return bool(0 < fetch_row(connection, "SELECT count(*) FROM analytics_events")[0] < EVENTS)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the month's way: when it has come, and what another session holds so that it lasts."""

    when: Callable[[Connection], bool]
    hold: str | None = None


def moments(connection: Connection) -> dict[str, Moment]:
    """Return the moments in the middle of each step, by the step."""
    daily = materialized_tables(connection)["analytics_revenue_daily"].identifier.as_string(connection)
    return {
        "ingestion": Moment(is_taken_in),
        # TimescaleDB has committed which range it refreshes, and not its rows.
        "refresh": Moment(waits_for_lock, f"LOCK TABLE {daily} IN SHARE MODE"),
        "close": Moment(waits_for_lock, "LOCK TABLE analytics_user_metrics IN SHARE MODE"),
        # The document is in the store, and not in the register.
        "report": Moment(waits_for_lock, "LOCK TABLE analytics_report_documents IN SHARE MODE"),
    }


STEPS = ("ingestion", "refresh", "close", "report")


@contextmanager
def striking(url: str, moment: Moment, strike: Callable[[], object]) -> Iterator[None]:
    """Strike at a moment while the block runs; what is held is released after that.

    Raises ``AssertionError`` if that has not come to pass when the block ends.
    """
    struck, over = threading.Event(), threading.Event()
    holder = psycopg.connect(url)
    if moment.hold is not None:
        holder.execute(moment.hold.encode())

    def watch() -> None:
        with psycopg.connect(url, autocommit=True) as watcher:
            while not moment.when(watcher):
                if over.wait(0.01):
                    break
            else:
                strike()
                struck.set()
        # Of a server that was killed they are dead.
        with suppress(psycopg.OperationalError):
            holder.rollback()
        holder.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert struck.is_set(), "the moment has not come"
