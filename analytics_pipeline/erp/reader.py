"""The ERP's database, only ever read: short read-only transactions of one statement each, with a time limit."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.datetime import TimestamptzLoader

from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.erp.source_files import ErpSource
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError, first_line
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection

Row = dict[str, Any]

BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
END = datetime(9999, 12, 31, tzinfo=UTC)

READ_SECONDS = 60
_CONNECT_SECONDS = 10
_ISOLATED = psycopg.IsolationLevel.REPEATABLE_READ
_NO_URL = (
    "ANALYTICS_ERP_URL is not set: set it to the URL of the ERP's database, with a role that may only read "
    "(docs/erp-sources.md)."
)
_ONE_QUERY = "A source is one query: take the other statements, and semicolons inside it, out of its file."


class SourceColumn(NamedTuple):
    """A column of a source: its name, and the name of its type on the server."""

    name: str
    type: str


class _AnyInstantLoader(TimestamptzLoader):
    """Loads an instant that Python has no value for (infinity, a year before Christ) as its text.

    One such row must not keep the others from being read.
    """

    def load(self, data: Any) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class ErpDatabase:
    """One connection to the ERP's database."""

    def __init__(self, connection: Connection) -> None:
        """Use the connection, which stays the caller's to close."""
        connection.read_only = True
        connection.isolation_level = _ISOLATED
        connection.adapters.register_loader("timestamptz", _AnyInstantLoader)
        self._connection = connection

    def read(self, query: str, *, seconds: int = READ_SECONDS) -> list[tuple[Any, ...]]:
        """Return the rows of a query of ours. Raises as ``read_source``."""
        with self._transaction("The ERP's database", seconds):
            return self._connection.execute(load_query(query)).fetchall()

    def read_source(
        self,
        source: ErpSource,
        query: str,
        *,
        columns: sql.Composable | None = None,
        seconds: int = READ_SECONDS,
        **parameters: object,
    ) -> list[Row]:
        """Return the rows of a query of ours around that of the source, in a short transaction of its own.

        Raises ``DatabaseUnreachableError`` for what may pass by itself, ``AnalyticsError`` naming the source's
        file for everything else.
        """
        with self._transaction(source.file, seconds), self._connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(*_around(source, query, columns, parameters)).fetchall()

    def columns(self, source: ErpSource) -> list[SourceColumn]:
        """Return the columns of the source. Raises as ``read_source``."""
        types = self._connection.adapters.types
        with self._transaction(source.file, READ_SECONDS), self._connection.cursor() as cursor:
            cursor.execute(*_around(source, "erp_columns", None, {"rows": 0}))
            found = [(column.name, types.get(column.type_code)) for column in cursor.description or ()]
        return [SourceColumn(name, info.name if info else "a type of its own") for name, info in found]

    @contextmanager
    def _transaction(self, what: str, seconds: int) -> Iterator[None]:
        try:
            with self._connection.transaction():
                # Not as options of the connection: poolers refuse those, or give them to others.
                self._connection.execute(
                    "SELECT set_config('statement_timeout', %s, true), set_config('TimeZone', 'UTC', true), "
                    "set_config('DateStyle', 'ISO', true)",
                    [f"{seconds}s"],
                )
                yield
        except psycopg.errors.QueryCanceled as error:
            raise AnalyticsError(
                f"{what}: not answered within {seconds} s: put an index on the column behind cursor_at, or restrict "
                "the query with %(since)s."
            ) from error
        except psycopg.OperationalError as error:
            raise DatabaseUnreachableError(f"{what}: the ERP's database failed: {_first_line(error)}") from error
        except psycopg.errors.SyntaxError as error:
            remedy = _ONE_QUERY if "multiple commands" in str(error) else "Correct the query."
            raise AnalyticsError(f"{what}: {_first_line(error)}. {remedy}") from error
        except psycopg.Error as error:
            raise AnalyticsError(
                f"{what}: {_first_line(error)}. Fix the query, or set ANALYTICS_ERP_SOURCES to a folder with queries "
                "for your own schema."
            ) from error


@contextmanager
def connect_erp(settings: Settings) -> Iterator[ErpDatabase]:
    """Open a connection to the ERP's database.

    Raises ``AnalyticsError`` if none is configured, ``DatabaseUnreachableError`` if it can't be reached; neither
    shows the password.
    """
    url = require_erp_url(settings)
    try:
        connection = psycopg.connect(
            url,
            # Poolers have many backends, the embedded server one.
            prepare_threshold=None,
            application_name="analytics_pipeline sources",
            connect_timeout=_CONNECT_SECONDS,
        )
    except psycopg.OperationalError as error:
        reason = _first_line(error).removeprefix("connection failed: ")
        raise DatabaseUnreachableError(
            f"Can't connect to the ERP's database at {describe_url(url)}: {reason}. Check ANALYTICS_ERP_URL and the "
            "server."
        ) from error
    with connection:
        yield ErpDatabase(connection)


def require_erp_url(settings: Settings) -> str:
    """Return the URL of the ERP's database. Raises ``AnalyticsError`` if it is unset."""
    if settings.erp_url is None:
        raise AnalyticsError(_NO_URL)
    return str(settings.erp_url.get_secret_value())


def _around(
    source: ErpSource, query: str, columns: sql.Composable | None, parameters: Mapping[str, object]
) -> tuple[sql.Composed, dict[str, object]]:
    """Return a query of ours around that of the source, with its parameters.

    Each has a bound parameter (``rows``): psycopg sends what has one by the extended protocol, by which the server
    takes one statement only. Text that closes our parenthesis could else commit the read-only transaction, and write.
    """
    parts: dict[str, sql.Composable] = {"source": sql.SQL(source.parameterized)}
    if columns is not None:
        parts["columns"] = columns
    return sql.SQL(load_query(query)).format(**parts), {"since": BEGINNING, "until": END, "rows": 1, **parameters}


def _first_line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or first_line(error)).rstrip(".")
