"""Connections of the API: bound to one company, or to all of them, for exactly one transaction."""

import asyncio
import os
import select
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from psycopg import AsyncConnection, BaseConnection, sql
from psycopg_pool import AsyncConnectionPool

from analytics_pipeline.api.bridge import Row, call_with
from analytics_pipeline.api.measurements import Measurements
from analytics_pipeline.database import database_url
from analytics_pipeline.metrics.access import API
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection

Result = TypeVar("Result")

_BEGIN = sql.SQL(
    """
    BEGIN ISOLATION LEVEL REPEATABLE READ {mode};
    SELECT
        set_config('role', {role}, true),
        set_config('search_path', {path}, true),
        set_config('analytics.company', {company}, true),
        set_config('analytics.every_company', {every_company}, true),
        set_config('statement_timeout', {timeout}, true),
        -- Workers cost more to start than any of these queries takes.
        set_config('max_parallel_workers_per_gather', '0', true)
    """
)


class Readers:
    """Pools of connections that work as ``analytics_api``: to the database, and to its replica if it has one."""

    def __init__(self, settings: Settings, measurements: Measurements) -> None:
        """Take the settings; nothing is opened."""
        self._timeout = str(settings.api_statement_timeout * 1000)
        self._measurements = measurements
        self._pool = _pool(settings, partial(primary_url, settings))
        url = settings.reader_url
        self._replica = self._pool if url is None else _pool(settings, partial(_given, url.get_secret_value()))

    async def open(self) -> None:
        """Start to connect; a database that can't be reached now is tried again."""
        await self._pool.open()
        if self._replica is not self._pool:
            await self._replica.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()
        if self._replica is not self._pool:
            await self._replica.close()

    async def run(
        self,
        company: str | None,
        read: Callable[[Connection], Result],
        *,
        read_only: bool = True,
        may_lag: bool = False,
    ) -> Result:
        """Call ``read`` in one transaction that sees one state of the database, and return its result.

        The transaction can ask for figures of ``company`` alone; None: of every company; the empty text: of none. It is
        one of the replica, if there is one, for what ``may_lag``. Raises ``PoolTimeout`` when no connection was free in
        time.
        """
        with self._measurements.database.time():
            return await self._run(
                self._replica if may_lag else self._pool, company, read, read_only=read_only or may_lag
            )

    async def _run(
        self,
        pool: AsyncConnectionPool[AsyncConnection[Row]],
        company: str | None,
        read: Callable[[Connection], Result],
        *,
        read_only: bool,
    ) -> Result:
        begin = _BEGIN.format(
            mode=sql.SQL("READ ONLY" if read_only else "READ WRITE"),
            role=sql.Literal(API),
            path=sql.Literal(f"{API}, public"),
            company=sql.Literal(company or ""),
            every_company=sql.Literal("on" if company is None else "off"),
            timeout=sql.Literal(self._timeout),
        )
        async with pool.connection() as connection:
            await connection.execute(begin)
            try:
                result = await call_with(connection, read)
            except BaseException:
                if not connection.closed:
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")
            return result


def _pool(settings: Settings, url: Callable[[], Awaitable[str]]) -> AsyncConnectionPool[AsyncConnection[Row]]:
    return AsyncConnectionPool(
        url,
        connection_class=AsyncConnection[Row],
        min_size=1,
        # The embedded server has one session.
        max_size=1 if settings.database_url is None else settings.api_pool_size,
        open=False,
        timeout=settings.api_pool_timeout,
        kwargs={
            "autocommit": True,
            "prepare_threshold": None,
            # The embedded server can't see which process a client is.
            "application_name": f"analytics_pipeline {os.getpid()}"
            if settings.database_url is None
            else "analytics_api",
        },
        configure=_configure,
        check=_check,
    )


async def _given(url: str) -> str:
    return url


async def primary_url(settings: Settings) -> str:
    """Return the libpq URL of the log-in with which the API reads what is not to lag."""
    if settings.api_url is not None:
        return settings.api_url.get_secret_value()
    # It starts the embedded server, if that is the one.
    return await asyncio.to_thread(database_url, settings)


def has_unread(connection: BaseConnection[Any]) -> bool:
    """Tell whether the server has sent something that nobody has asked for: a session that it has ended, says so.

    It looks at what has arrived already, and asks the server nothing.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _configure(connection: AsyncConnection[Row]) -> None:
    await connection.execute("SET TIME ZONE 'UTC'")


async def _check(connection: AsyncConnection[Row]) -> None:
    """Raise ``psycopg.Error`` for a connection that a restart of the server has ended; the pool takes another."""
    if has_unread(connection):
        await AsyncConnectionPool.check_connection(connection)
