"""Making a backup: the database and Dagster's storage, each as of one instant, with what is in them counted.

Dagster's storage comes first: what was closed meanwhile is then closed in the database and unknown to Dagster, which
harms nothing (``adopt``), and never the other way round.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version

import psycopg
from psycopg import sql

from analytics_pipeline.database import connect, database_url
from analytics_pipeline.database_urls import describe_url
from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.embedded.engine import engine_name
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.client_programs import dump, find_program
from analytics_pipeline.operations.embedded_copy import DATA, copy_data
from analytics_pipeline.operations.manifest import BackupFile, Content, Kind, Manifest, StoredDatabase
from analytics_pipeline.operations.places import Backup, new_backup
from analytics_pipeline.operations.row_counts import (
    needs_row_security,
    newest_months,
    read_content,
    read_tables,
    settle_session,
)
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.migrations import schema_version
from analytics_pipeline.timescale.server import server_info

PREFIX = "backup"
_DATABASE, _DAGSTER = "database.dump", "dagster.dump"
_SAY_EVERY_SECONDS = 2.0

Say = Callable[[str], None]


def make_backup(settings: Settings, root: str, say: Say, *, with_dagster: bool = True) -> Backup:
    """Write a new backup into a place, a folder or an object-store URI, and return it.

    ``say`` is given how far it is, now and then. Raises ``AnalyticsError`` when anything of it can't be read or
    written; what was written is removed then, and what a killed process leaves has no manifest, so is no backup.
    """
    started = datetime.now(UTC)
    with writing_backup(root, PREFIX, started) as backup, connect(settings, autocommit=True) as connection:
        settle_session(connection)
        files: list[BackupFile] = []
        dagster = _store_dagster(settings, backup, files, say) if with_dagster else None
        store = _copy_embedded if settings.database_url is None else _dump_server
        database = store(settings, connection, backup, files, say)
        manifest = Manifest(
            name=backup.name,
            kind=Kind.EMBEDDED if settings.database_url is None else Kind.SERVER,
            started_at=started.isoformat(timespec="seconds"),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
            program=version("analytics_pipeline"),
            timescaledb=server_info(connection).timescaledb_version,
            schema=schema_version(connection),
            currency=settings.base_currency,
            files=tuple(files),
            database=database,
            dagster=dagster,
        )
        backup.finish(manifest)
    return backup


@contextmanager
def writing_backup(root: str, prefix: str, started: datetime) -> Iterator[Backup]:
    """Give the folder of a new backup, and remove it if the block fails."""
    backup = new_backup(root, prefix, started)
    try:
        yield backup
    except BaseException as error:
        # The error itself is what counts; what is left has no manifest.
        with suppress(AnalyticsError):
            backup.remove()
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            reason = error.diag.message_primary
            raise AnalyticsError(f"{reason}: make backups as the owner of the tables, or a superuser.") from error
        raise


def dagster_storage_url(settings: Settings) -> str | None:
    """Return the URL of Dagster's storage, started where it is the embedded one; None where there was never any."""
    if settings.dagster_postgres_url is not None:
        return settings.dagster_postgres_url.get_secret_value()
    storage = EmbeddedPostgres(settings.home)
    if not storage.data_dir.exists():
        return None
    storage.start()
    return storage.url


@contextmanager
def connect_to_server(url: str, named_by: str) -> Iterator[Connection]:
    """Open an autocommit connection to any database; ``named_by`` says in the error where its URL comes from."""
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=30, application_name="analytics_pipeline")
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0].removeprefix("connection failed: ")
        raise AnalyticsError(f"Can't connect to {describe_url(url)}: {reason}. Check {named_by}.") from error
    with connection:
        yield connection


@contextmanager
def connect_to_storage(url: str) -> Iterator[Connection]:
    """Open an autocommit connection to Dagster's storage, settled for counting."""
    with connect_to_server(url, "DAGSTER_POSTGRES_URL") as connection:
        settle_session(connection)
        yield connection


def postgres_major(connection: Connection) -> int:
    """Return the major version of the server."""
    return connection.info.server_version // 10_000


def now_and_then(say: Say, what: str, total: int) -> Say:
    """Return what is given each table's name and says every few seconds how many of them were reached."""
    reached, last = 0, time.monotonic()

    def count(table: str) -> None:
        nonlocal reached, last
        reached += 1
        if time.monotonic() - last >= _SAY_EVERY_SECONDS:
            last = time.monotonic()
            say(f"{what}: table {reached} of about {total}, {table}")

    return count


def _store_dagster(settings: Settings, backup: Backup, files: list[BackupFile], say: Say) -> StoredDatabase | None:
    url = dagster_storage_url(settings)
    if url is None:
        say("Dagster has no storage yet: there is nothing of it to keep")
        return None
    with connect_to_storage(url) as connection, _one_state(connection) as snapshot:
        content = read_tables(connection)
        return _dump(settings, connection, url, snapshot, backup, _DAGSTER, files, content, say)


def _dump_server(
    settings: Settings, connection: Connection, backup: Backup, files: list[BackupFile], say: Say
) -> StoredDatabase:
    if "emcc" in fetch_row(connection, "SELECT version()")[0]:
        raise AnalyticsError(
            "ANALYTICS_DATABASE_URL names an embedded database: unset it, and name its folder by ANALYTICS_HOME."
        )
    # First: to find out that it is missing after an hour of counting would be late.
    find_program("pg_dump", postgres_major(connection), settings.pg_bin)
    months = newest_months(connection)
    hypertables = connection.execute(load_query("backup_hypertables")).fetchall()
    with _one_state(connection, [(schema, table) for _, schema, table, _ in hypertables]) as snapshot:
        content = read_content(connection, settings.base_currency, months, say)
        return _dump(settings, connection, database_url(settings), snapshot, backup, _DATABASE, files, content, say)


def _copy_embedded(
    settings: Settings, connection: Connection, backup: Backup, files: list[BackupFile], say: Say
) -> StoredDatabase:
    months = newest_months(connection)
    server = EmbeddedTimescale(settings.home)
    with connection.transaction():
        content = read_content(connection, settings.base_currency, months, say)
        with backup.write(DATA) as file:
            copy_data(connection, server.data_dir, file, say)
        files.append(file.entry(DATA))
        return StoredDatabase(DATA, server_info(connection).postgres_version, content, engine=engine_name())


@contextmanager
def _one_state(connection: Connection, hypertables: list[tuple[str, str]] | None = None) -> Iterator[str]:
    """Give a snapshot of the database that others can take, for the block.

    Chunks of the hypertables are locked before the snapshot is taken: of one that is compressed in between pg_dump
    writes no row at all, without a warning. Compressing and dropping chunks waits until the block ends; everybody
    else reads and writes.
    """
    with one_state(connection, read_only=False):
        if hypertables:
            names = sql.SQL(", ").join(sql.Identifier(*name) for name in hypertables)
            connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
        yield fetch_row(connection, "SELECT pg_export_snapshot()")[0]


def _dump(
    settings: Settings,
    connection: Connection,
    url: str,
    snapshot: str,
    backup: Backup,
    name: str,
    files: list[BackupFile],
    content: Content,
    say: Say,
) -> StoredDatabase:
    """Dump a database as its snapshot sees it into a file of the backup."""
    program = find_program("pg_dump", postgres_major(connection), settings.pg_bin)
    tables = len(content.tables) + 2 * len(content.chunks)
    say(f"writing {name}: {content.rows:,} rows")
    with backup.write(name) as file:
        counting = now_and_then(say, name, tables)
        dump(
            program,
            url,
            file.copy_from,
            snapshot=snapshot,
            lock_timeout=settings.lock_timeout,
            row_security=needs_row_security(connection),
            say=counting,
        )
    files.append(file.entry(name))
    return StoredDatabase(
        file=name,
        postgresql=fetch_row(connection, "SELECT current_setting('server_version')")[0],
        content=content,
        roles=tuple(role for (role,) in connection.execute(load_query("backup_roles"))),
        settings=dict(connection.execute(load_query("backup_settings")).fetchall()),
    )
