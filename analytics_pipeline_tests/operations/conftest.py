"""A database worth a backup, and the programs that make one."""

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.client_programs import find_program
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Window
from analytics_pipeline_tests.conftest import SERVER_URL, Database, migrated_database
from analytics_pipeline_tests.events_factory import add_event, at

PG_BIN = os.environ.get("ANALYTICS_PG_BIN", "")
MONTHS = ("2025-01", "2025-02", "2025-03")


@pytest.fixture(scope="module")
def source(embedded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database of three months of events, of which two are compressed, with aggregates that are refreshed."""
    with migrated_database(embedded_home, tmp_path_factory.mktemp("source")) as database:
        with database.connect(autocommit=True) as connection:
            fill(connection)
        yield database


def fill(connection: Connection) -> None:
    """Record events of three months, compress the chunks of two of them, refresh two aggregates."""
    for month in MONTHS:
        for day in (3, 12, 27):
            add_event(connection, f"{month}-{day:02}T10:00", value=f"{day}.50")
            add_event(connection, f"{month}-{day:02}T11:00", "user.login", category="user_activity", value=None)
    connection.execute(
        "SELECT compress_chunk(c) FROM show_chunks('analytics_events', older_than => '2025-02-28'::timestamptz) AS c"
    )
    # Of hours, and of days built on them.
    for aggregate in AGGREGATES[:2]:
        refresh(connection, aggregate, Window(at("2025-01-01"), at("2025-04-01")))


def why_no_dump() -> str:
    """Return why no server can be dumped here, nothing where one can."""
    if SERVER_URL is None:
        return "the embedded database is copied, not dumped: this is about a server's"
    with psycopg.connect(SERVER_URL) as connection:
        major = connection.info.server_version // 10_000
    try:
        find_program("pg_dump", major, PG_BIN)
    except AnalyticsError as error:
        return str(error)
    return ""
