"""Runs synchronous reading code over an asynchronous connection, so that the API asks the questions of the commands.

The typed calls of ``metrics`` take a connection and call it, one statement after the other. Here each of those calls
hands the statement to the event loop and waits without blocking it, by a greenlet, as SQLAlchemy's asynchronous engine
does.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import greenlet
from psycopg import AsyncConnection, AsyncCursor, Column
from psycopg.abc import Params, QueryNoTemplate

from analytics_pipeline.timescale.connection import Connection

Result = TypeVar("Result")
Row = tuple[Any, ...]


async def call_with(connection: AsyncConnection[Row], read: Callable[[Connection], Result]) -> Result:
    """Call ``read`` with a connection as the synchronous code knows it, and return what it returns.

    The connection knows ``execute``, ``transaction``, ``info`` and ``closed``, and cursors with ``fetchone``,
    ``fetchall``, ``rowcount``, ``description`` and iteration.
    """
    caller = greenlet.getcurrent()
    worker = greenlet.greenlet(read, caller)
    worker.gr_context = caller.gr_context
    step = worker.switch(cast(Connection, _Connection(connection)))
    while not worker.dead:
        try:
            outcome = await cast(Awaitable[object], step)
        # Whatever it is, a cancelled request included: the code that waits has to see it.
        except BaseException as error:  # noqa: BLE001
            step = worker.throw(error)
        else:
            step = worker.switch(outcome)
    return cast(Result, step)


def _wait(awaitable: Awaitable[Result]) -> Result:
    parent = greenlet.getcurrent().parent
    if parent is None:
        raise RuntimeError("a bridged connection was used outside of call_with")
    return cast(Result, parent.switch(awaitable))


class _Connection:
    def __init__(self, connection: AsyncConnection[Row]) -> None:
        self._connection = connection
        self.info = connection.info

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def execute(self, query: QueryNoTemplate, params: Params | None = None) -> "_Cursor":
        return _Cursor(_wait(self._connection.execute(query, params)))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        block = self._connection.transaction()
        _wait(block.__aenter__())
        try:
            yield
        except BaseException as error:
            _wait(block.__aexit__(type(error), error, error.__traceback__))
            raise
        _wait(block.__aexit__(None, None, None))


class _Cursor:
    def __init__(self, cursor: AsyncCursor[Row]) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def description(self) -> list[Column] | None:
        return self._cursor.description

    def fetchone(self) -> Row | None:
        return _wait(self._cursor.fetchone())

    def fetchall(self) -> list[Row]:
        return _wait(self._cursor.fetchall())

    def __iter__(self) -> Iterator[Row]:
        return iter(self.fetchall())
