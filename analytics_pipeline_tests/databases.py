"""Databases for the tests, each like new, without a migration for each.

On a server every database is a new one: empty, or a copy of one that was migrated once. An embedded server has one
database only, which is brought back to what it was before the test, as far as the test has changed it.
"""

import pickle
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from pydantic import SecretStr

from analytics_pipeline.database import migrate
from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.embedded.files import lock
from analytics_pipeline.settings import Settings
from analytics_pipeline_tests.pristine import Pristine

# The settings that a migration goes by, as the migrated databases here were made with.
MIGRATED_WITH: dict[str, Any] = {"retention": "never", "compress_after": "30 days", "refresh_owner": "dagster"}


class Kind(Enum):
    """What a new database holds: nothing, or our schema."""

    EMPTY = auto()
    MIGRATED = auto()


class ServerDatabases:
    """New databases on a server that others use too.

    Their names begin with the name of this run, and so does the application name of a connection that is open as
    long as the run lasts: what a killed run has left is known by that, and dropped by the next one.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._run = f"analytics_test_{uuid.uuid4().hex[:8]}"
        self._numbers = count(1)

    @contextmanager
    def make(self, kind: Kind) -> Iterator[str]:
        name = f"{self._run}_{next(self._numbers)}"
        if kind is Kind.MIGRATED:
            self._copy_template(name)
        else:
            self._execute("CREATE DATABASE {}", name)
        try:
            yield self._url_of(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def reconnect(self) -> None:
        """Connect anew when next needed: the server was killed."""
        self.__dict__.pop("_admin", None)

    def close(self) -> None:
        if "_admin" in self.__dict__:
            if "_template" in self.__dict__:
                self._execute("DROP DATABASE {} WITH (FORCE)", self._template)
            self._admin.close()

    @cached_property
    def _admin(self) -> "psycopg.Connection[tuple[Any, ...]]":
        admin = psycopg.connect(self._url, autocommit=True, application_name=self._run)
        left_behind = admin.execute(
            """
            SELECT d.datname FROM pg_database AS d
            WHERE d.datname ~ '^analytics_test_[0-9a-f]{8}_' AND pg_get_userbyid(d.datdba) = current_user
              AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.application_name = left(d.datname, %s))
            """,
            [len(self._run)],
        ).fetchall()
        for (name,) in left_behind:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        return admin

    @cached_property
    def _template(self) -> str:
        """The migrated database that others are copies of; nobody can be connected to it meanwhile."""
        name = f"{self._run}_template"
        self._execute("CREATE DATABASE {}", name)
        migrate(_settings(self._url_of(name)))
        with self._connect(name) as connection:
            connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
        self._execute("ALTER DATABASE {} ALLOW_CONNECTIONS false", name)
        self._admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        return name

    def _copy_template(self, name: str) -> None:
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, self._template)
        # The two things a copy lacks: what ALTER DATABASE has set, and the scheduler of its jobs.
        settings = self._admin.execute(
            "SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) FROM pg_db_role_setting AS s, "
            "unnest(s.setconfig) AS c WHERE s.setrole = 0 AND s.setdatabase = "
            "(SELECT oid FROM pg_database WHERE datname = %s)",
            [self._template],
        ).fetchall()
        for setting, value in settings:
            statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
            self._admin.execute(statement.format(sql.Identifier(name), sql.Identifier(setting), sql.Literal(value)))
        with self._connect(name) as connection:
            connection.execute("SELECT _timescaledb_functions.start_background_workers()")

    def _execute(self, statement: str, *names: str) -> None:
        self._admin.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def _connect(self, name: str) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(self._url_of(name), autocommit=True)

    def _url_of(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))


class EmbeddedDatabases:
    """The databases of embedded servers, again and again: a server for each kind, or a test of the other kind would
    cost a start of the engine."""

    def __init__(self, home: Path, originals: "Originals") -> None:
        """Make databases in servers under ``home``, of which others may be copies, too: of the ``originals``."""
        self._servers = {Kind.MIGRATED: _EmbeddedServer(home, Kind.MIGRATED, originals)}
        self._servers[Kind.EMPTY] = _EmbeddedServer(home / "empty", Kind.EMPTY, originals)

    @contextmanager
    def make(self, kind: Kind) -> Iterator[str]:
        yield self._servers[kind].renewed()

    def close(self) -> None:
        for server in self._servers.values():
            server.stop()


class _EmbeddedServer:
    """A server whose one database is brought back to what it was when it was new."""

    def __init__(self, home: Path, kind: Kind, originals: "Originals") -> None:
        self._server = EmbeddedTimescale(home, durable=False)
        self._kind = kind
        self._originals = originals
        self._pristine: Pristine | None = None

    def renewed(self) -> str:
        """Return the URL of the database, which is like new."""
        if not self._restore():
            self._replace()
        return self._server.url

    def stop(self) -> None:
        self._server.stop()

    def _restore(self) -> bool:
        if self._pristine is not None:
            with suppress(psycopg.Error):
                self._server.start()
                with _connect(self._server) as connection:
                    return self._pristine.restore(connection)
        return False

    def _replace(self) -> None:
        """Start the server on a copy of the data directory as it was when its database was new."""
        self._server.stop()
        shutil.rmtree(self._server.data_dir, ignore_errors=True)
        self._pristine = self._originals.copy(self._kind, self._server.data_dir)
        self._server.start()


class Originals:
    """The data directories of new databases, each made once for all processes of a run, by who needs it first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = EmbeddedTimescale(folder / "server", durable=False)

    def copy(self, kind: Kind, target: Path) -> Pristine:
        """Copy a data directory to where none is, and return what its database is like."""
        self.make(kind)
        shutil.copytree(self._data(kind), target, copy_function=shutil.copy)
        recorded: Pristine = pickle.loads(self._record(kind).read_bytes())  # noqa: S301 written by a process of this run
        return recorded

    def make(self, kind: Kind) -> None:
        """Make a data directory unless it is there; waits for another process that is about it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with lock(self._folder / "lock", seconds=600, waiting_for="new databases"):
            if not self._record(kind).exists():
                self._make(kind)

    def _make(self, kind: Kind) -> None:
        data = self._server.data_dir
        shutil.rmtree(data, ignore_errors=True)
        if kind is Kind.MIGRATED and self._record(Kind.EMPTY).exists():
            # Or the engine makes one, which takes seconds.
            shutil.copytree(self._data(Kind.EMPTY), data, copy_function=shutil.copy)
        try:
            self._server.start()
            with _connect(self._server) as connection:
                if kind is Kind.MIGRATED:
                    # What the extension brings along belongs to what is there before.
                    connection.execute("CREATE EXTENSION timescaledb")
                before = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
            if kind is Kind.MIGRATED:
                migrate(_settings(self._server.url))
            assert before is not None
            with _connect(self._server) as connection:
                pristine = Pristine(connection, since=before[0])
        finally:
            self._server.stop()
        shutil.rmtree(self._data(kind), ignore_errors=True)
        data.rename(self._data(kind))
        # Last: what has one is complete.
        self._record(kind).write_bytes(pickle.dumps(pristine))

    def _data(self, kind: Kind) -> Path:
        return self._folder / kind.name.lower()

    def _record(self, kind: Kind) -> Path:
        return self._folder / f"{kind.name.lower()}.pickle"


def _connect(server: EmbeddedTimescale) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(server.url, autocommit=True, prepare_threshold=None)


def _settings(url: str) -> Settings:
    return Settings(database_url=SecretStr(url), **MIGRATED_WITH)
