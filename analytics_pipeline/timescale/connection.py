"""Connections to a TimescaleDB, and what a session of it may be asked for."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg import sql
from psycopg.abc import Params, QueryNoTemplate
from psycopg.pq import TransactionStatus

from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.errors import DatabaseUnreachableError, first_line
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.waiting import WatchedConnection

Connection = psycopg.Connection[tuple[Any, ...]]

# Those of this process, while somebody uses them.
_connections: WeakSet[Connection] = WeakSet()
_connections_lock = threading.Lock()


def open_connection(
    url: str,
    application_name: str,
    *,
    autocommit: bool,
    lock_timeout: float,
    on_wait: Callable[[str], None] | None,
    setting: str = "ANALYTICS_DATABASE_URL",
) -> WatchedConnection:
    """Open a connection whose session time zone is UTC, and whose statements don't wait in silence (``waiting``).

    ``lock_timeout`` is how many seconds a statement waits for others; what it waits for is logged, and given to
    ``on_wait``. Raises ``DatabaseUnreachableError`` naming server, ``setting`` and remedy, never the password.
    """
    try:
        connection = WatchedConnection.connect(
            url,
            autocommit=autocommit,
            # The embedded server has one backend session, and poolers have many: no server-side
            # prepared statements on either.
            prepare_threshold=None,
            application_name=application_name,
            connect_timeout=30,
        )
    except psycopg.OperationalError as error:
        reason = first_line(error).removeprefix("connection failed: ")
        raise DatabaseUnreachableError(
            f"Can't connect to {describe_url(url)}: {reason}. Check {setting} and the server."
        ) from error
    try:
        connection.watch_waits(url, lock_timeout, on_wait)
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
def one_state(connection: Connection, *, read_only: bool = True) -> Iterator[None]:
    """Let every statement of the block see the database at one and the same instant; it may only read, as a rule.

    For a connection outside of a transaction: the block is one of its own.
    """
    with connection.transaction():
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ{', READ ONLY' if read_only else ''}")
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


@contextmanager
def aggregate_at_once(connection: Connection) -> Iterator[None]:
    """Let statements of the block aggregate the events of a month in memory, and not by chunk; autocommit connection.

    For what ``SET LOCAL`` can't reach: procedures that are transactions themselves.
    """
    changed = [name for name, _ in connection.execute(load_query("aggregate_at_once"), {"is_local": False})]
    try:
        yield
    finally:
        if not connection.closed:
            for name in changed:
                connection.execute(sql.SQL("RESET {}").format(sql.SQL(name)))


def lock_changes(connection: Connection, *, shared: bool = False) -> None:
    """Take the lock of ``analytics_metric_changes`` to the end of the transaction.

    Alone for whoever changes users, subscriptions or rates, shared for whoever computes figures from them. It has
    to be the transaction's first statement: what is read before may be older than the lock.
    """
    connection.execute("SELECT analytics_lock_changes(%s)", [shared])


def fetch_row(connection: Connection, query: QueryNoTemplate, parameters: Params | None = None) -> tuple[Any, ...]:
    """Return the one row of a query that always has one, such as an aggregate without GROUP BY."""
    row = connection.execute(query, parameters).fetchone()
    if row is None:
        raise LookupError(f"the query returned no row: {query!r}")
    return row
