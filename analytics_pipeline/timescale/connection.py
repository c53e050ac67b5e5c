"""Connections to TimescaleDB: the configured server, or the embedded one started on demand."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.abc import Params, QueryNoTemplate
from psycopg.pq import TransactionStatus

from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.errors import DatabaseUnreachableError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.waiting import WatchedConnection

Connection = psycopg.Connection[tuple[Any, ...]]

# Those of this process, while somebody uses them.
_connections: WeakSet[Connection] = WeakSet()
_connections_lock = threading.Lock()


def database_url(settings: Settings | None = None) -> str:
    """Return the libpq URL to work on; starts the embedded server if no other is configured."""
    settings = settings or get_settings()
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    # A production process has a server of its own and needs neither Node nor this import.
    from analytics_pipeline.embedded import EmbeddedTimescale

    embedded = EmbeddedTimescale(settings.home)
    embedded.start()
    return embedded.url


def connect(
    settings: Settings | None = None,
    *,
    autocommit: bool = False,
    lock_timeout: float | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> WatchedConnection:
    """Open a connection whose session time zone is UTC, and whose statements don't wait in silence (``waiting``).

    ``lock_timeout`` is how many seconds a statement waits for others, None: ``ANALYTICS_LOCK_TIMEOUT``; what it waits
    for is logged, and given to ``on_wait``. Raises ``AnalyticsError`` naming server and remedy, never the password,
    when it can't be reached.
    """
    settings = settings or get_settings()
    url = database_url(settings)
    try:
        connection = WatchedConnection.connect(
            url,
            autocommit=autocommit,
            # The embedded server has one backend session, and poolers have many: no server-side
            # prepared statements on either.
            prepare_threshold=None,
            # The embedded server can't see which process a client is.
            application_name="analytics_pipeline" if settings.database_url else f"analytics_pipeline {os.getpid()}",
            connect_timeout=30,
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0].removeprefix("connection failed: ")
        raise DatabaseUnreachableError(
            f"Can't connect to {describe_url(url)}: {reason}. Check ANALYTICS_DATABASE_URL and the server."
        ) from error
    try:
        connection.watch_waits(url, settings.lock_timeout if lock_timeout is None else lock_timeout, on_wait)
        connection.execute("SET TIME ZONE 'UTC'")
        if not autocommit:
            connection.commit()
    except BaseException:
        connection.close()
        raise
    with _connections_lock:
        _connections.add(connection)
    return connection


def cancel_statements() -> None:
    """Cancel what other threads of this process are running on servers; the embedded database can't do so."""
    with _connections_lock:
        connections = list(_connections)
    for connection in connections:
        if not connection.closed and connection.info.transaction_status is TransactionStatus.ACTIVE:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=1)


@contextmanager
def one_state(connection: Connection) -> Iterator[None]:
    """Let every statement of the block see the database at one and the same instant; it may only read.

    For a connection outside of a transaction: the block is one of its own.
    """
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


@contextmanager
def advisory_lock(connection: Connection, kind: int, name: str) -> Iterator[None]:
    """Let one session at a time into the block, of all that give this kind and name; others wait for it.

    A session that ends gives its lock back. The embedded server has one session, and it always gets in.
    """
    connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [kind, name])
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [kind, name])


def fetch_row(connection: Connection, query: QueryNoTemplate, parameters: Params | None = None) -> tuple[Any, ...]:
    """Return the one row of a query that always has one, such as an aggregate without GROUP BY."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise LookupError(f"the query returned no row: {query!r}")
    return row
