"""Connections that record events, as ``analytics_writer``: a second role and a second pool.

Ingestion is synchronous, parses and copies for most of its time, and runs in threads: as many as there are connections,
so that requests wait for one without blocking the others.
"""

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from psycopg import sql
from psycopg_pool import ConnectionPool

from analytics_pipeline.api.pools import has_unread
from analytics_pipeline.database import database_url
from analytics_pipeline.metrics.access import WRITER
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection

Result = TypeVar("Result")

_SET_ROLE = sql.SQL("SET ROLE {}").format(sql.Identifier(WRITER))


class Writers:
    """A pool of autocommit connections for writing events."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is opened."""
        self._settings = settings
        size = 1 if settings.database_url is None else settings.api_writer_pool_size
        self._pool = ConnectionPool(
            self._url,
            min_size=0,
            max_size=size,
            open=False,
            timeout=settings.api_pool_timeout,
            kwargs={"autocommit": True, "prepare_threshold": None, "application_name": "analytics_api writer"},
            configure=self._configure,
            check=_check,
        )
        self._size = size
        self._limiter: CapacityLimiter | None = None

    async def open(self) -> None:
        """Let connections be made when they are needed."""
        self._limiter = CapacityLimiter(self._size)
        await to_thread.run_sync(self._pool.open)

    async def close(self) -> None:
        """Close every connection."""
        await to_thread.run_sync(self._pool.close)

    async def run(self, write: Callable[[Connection], Result]) -> Result:
        """Call ``write`` in a thread with a connection outside of a transaction, and return its result."""
        return await to_thread.run_sync(self._call, write, limiter=self._limiter)

    def _call(self, write: Callable[[Connection], Result]) -> Result:
        with self._pool.connection() as connection:
            # Each time: the embedded server takes it back between clients.
            connection.execute(_SET_ROLE)
            return write(connection)

    def _url(self) -> str:
        url = self._settings.api_writer_url
        return url.get_secret_value() if url is not None else database_url(self._settings)

    def _configure(self, connection: Connection) -> None:
        timeout = sql.Literal(f"{self._settings.api_statement_timeout}s")
        connection.execute(sql.SQL("SET TIME ZONE 'UTC'; SET statement_timeout = {}").format(timeout))


def _check(connection: Connection) -> None:
    """Raise ``psycopg.Error`` for a connection that a restart of the server has ended; the pool takes another."""
    if has_unread(connection):
        ConnectionPool.check_connection(connection)
