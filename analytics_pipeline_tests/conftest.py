"""One real TimescaleDB for the tests: the embedded one, or the server of ANALYTICS_DATABASE_URL.

On a server of its own every test gets a new database; on the embedded one, which has a single
database, the schema is dropped and migrated again.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from analytics_pipeline.embedded import EmbeddedTimescale
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.timescale.connection import Connection, connect
from analytics_pipeline.timescale.migrations import migrate

SERVER_URL = os.environ.get("ANALYTICS_DATABASE_URL")


@dataclass(frozen=True)
class Database:
    """A clean, migrated database, and the settings that lead to it."""

    url: str
    settings: Settings

    def connect(self, *, autocommit: bool = False) -> Connection:
        return connect(self.settings, autocommit=autocommit)


@pytest.fixture(scope="session")
def embedded_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of the session's embedded database, which is stopped in the end."""
    home = tmp_path_factory.mktemp("home")
    yield home
    EmbeddedTimescale(home).stop()


@pytest.fixture
def empty_database_url(embedded_home: Path) -> Iterator[str]:
    """The URL of a database without our schema."""
    with empty_database(embedded_home) as url:
        yield url


@contextmanager
def empty_database(embedded_home: Path) -> Iterator[str]:
    """Make a database without our schema and yield its URL; on the embedded server there is only one."""
    if SERVER_URL is None:
        embedded = EmbeddedTimescale(embedded_home)
        embedded.start()
        drop_schema(embedded.url)
        yield embedded.url
        return
    name = f"analytics_test_{uuid.uuid4().hex}"
    with psycopg.connect(SERVER_URL, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
    yield urlunsplit(urlsplit(SERVER_URL)._replace(path=f"/{name}"))
    with psycopg.connect(SERVER_URL, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def environment(
    empty_database_url: str, embedded_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """The settings' environment, pointing at the empty database; a test may set more before migrating."""
    set_environment(monkeypatch, empty_database_url, embedded_home, tmp_path)
    yield monkeypatch
    get_settings.cache_clear()


def set_environment(monkeypatch: pytest.MonkeyPatch, url: str, embedded_home: Path, folder: Path) -> None:
    """Point the settings at a database; nothing of the surrounding environment remains."""
    for name in [n for n in os.environ if n.startswith("ANALYTICS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ANALYTICS_HOME", str(embedded_home))
    monkeypatch.setenv("ANALYTICS_DATABASE_URL", url)
    monkeypatch.setenv("ANALYTICS_ARTIFACTS", str(folder / "artifacts"))
    monkeypatch.setenv("ANALYTICS_RETENTION", "never")
    get_settings.cache_clear()


@pytest.fixture
def database(environment: pytest.MonkeyPatch, empty_database_url: str) -> Database:
    """A migrated database without events."""
    migrate()
    return Database(empty_database_url, get_settings())


def drop_schema(url: str) -> None:
    """Drop everything of ours from a database, and keep the extension."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'analytics%'"
        ).fetchall()
        for (table,) in sorted(tables):
            connection.execute(f'DROP TABLE IF EXISTS "{table}" CASCADE')
