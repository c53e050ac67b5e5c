"""A database of its own for a benchmark, and the clock of its server."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit, urlunsplit

import psycopg

from analytics_pipeline.database import migrate
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import get_settings
from analytics_pipeline.timescale.connection import Connection


def server_url() -> str:
    """Return the server that the environment names; raises ``AnalyticsError`` without one."""
    url = os.environ.get("ANALYTICS_DATABASE_URL")
    if url is None:
        raise AnalyticsError("Set ANALYTICS_DATABASE_URL: the embedded database has room for one database only.")
    return url


@contextmanager
def database(server: str) -> Iterator[None]:
    """Make a database, point the settings at it, and drop it in the end."""
    name = f"analytics_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    os.environ["ANALYTICS_DATABASE_URL"] = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    get_settings.cache_clear()
    try:
        migrate()
        yield
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def server_clock(connection: Connection) -> Callable[[], float]:
    """Return the clock of the processor time of a connection's server process; on another machine that of the wall."""
    times = Path(f"/proc/{connection.info.backend_pid}/schedstat")
    command = times.with_name("comm")
    if not command.exists() or "postgres" not in command.read_text():
        return perf_counter
    return lambda: int(times.read_text().split()[0]) / 1e9
