"""Bringing a backup back into databases that are empty, and proving that all of it is there.

Everything that can be checked is checked before anything is written. Policies are switched off before TimescaleDB could
run one of them: a restored retention policy would drop at once what the backup was kept for. ``db policies --apply``
switches them on.
"""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from analytics_pipeline.database import connect, database_url
from analytics_pipeline.embedded import EmbeddedPostgres, EmbeddedTimescale
from analytics_pipeline.embedded.engine import engine_name
from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.folders import is_left_behind, keep_locked
from analytics_pipeline.metrics.access import GROUPS, Grant, list_grants
from analytics_pipeline.operations.backup import (
    Say,
    connect_to_server,
    connect_to_storage,
    dagster_storage_url,
    now_and_then,
    postgres_major,
)
from analytics_pipeline.operations.client_programs import find_program, restore
from analytics_pipeline.operations.embedded_copy import running_aside, unpack_data
from analytics_pipeline.operations.manifest import Content, Kind, Manifest, PolicyState, StoredDatabase, differences
from analytics_pipeline.operations.places import Backup
from analytics_pipeline.operations.row_counts import read_content, read_tables, settle_session
from analytics_pipeline.settings import Settings
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row, one_state
from analytics_pipeline.timescale.migrations import newest_migration
from analytics_pipeline.timescale.server import parse_version
from analytics_pipeline.windows import Granularity, Window

# Below it the steps after a restore have to be taken twice.
_ONE_POST_RESTORE = (2, 26, 4)
_SCRATCH = "analytics_rehearsal_"
_ASIDE = "restoring-"
_SCRATCH_LOCK = 7_261_940_051


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has found: in what the databases differ from the backup, and what is left to a person.

    ``switched_off`` are the policies that ran where the backup was made, ``lost_grants`` those whose role is another
    one on this server. ``notes`` are sentences about what could not be compared.
    """

    manifest: Manifest
    differences: tuple[str, ...]
    switched_off: tuple[PolicyState, ...]
    lost_grants: tuple[Grant, ...]
    notes: tuple[str, ...]


def restore_backup(settings: Settings, backup: Backup, say: Say, *, with_dagster: bool = True) -> Restored:
    """Restore a backup of databases into the configured ones, which must be empty, and compare them with it.

    Raises ``AnalyticsError`` before anything is written for a damaged file, a target that holds something, and a server
    that doesn't fit the backup.
    """
    manifest = _require_usable(settings, backup, say)
    dagster = manifest.dagster if with_dagster else None
    if dagster is not None:
        _require_empty_storage(settings, dagster)
    if manifest.kind is Kind.EMBEDDED:
        restored = _restore_embedded(settings, backup, manifest, say)
    else:
        restored = _restore_server(settings, backup, manifest, say)
    if dagster is not None:
        url = dagster_storage_url(settings)
        if url is None:
            raise LookupError("Dagster's storage was there a moment ago")
        found = _restore_storage(settings, backup, dagster, url, say)
        restored = replace(restored, differences=(*restored.differences, *found))
    return restored


def rehearse_restore(settings: Settings, backup: Backup, say: Say) -> Restored:
    """Restore a backup into databases that are made for it and removed afterwards, and compare them with it.

    On the server of ``ANALYTICS_REHEARSAL_URL``, or else on those of the configured database and of Dagster's storage;
    the role must be allowed to make databases, and to restore. The embedded database in a folder beside it.
    """
    manifest = _require_usable(settings, backup, say)
    elsewhere = None if settings.rehearsal_url is None else settings.rehearsal_url.get_secret_value()
    if manifest.kind is Kind.EMBEDDED:
        with _unpacked(settings, backup, manifest, say) as home:
            restored = _verify_embedded(settings, home, manifest, say)
    else:
        with _scratch_database(elsewhere or database_url(settings)) as url:
            restored = _restore_server(_with_database(settings, url), backup, manifest, say)
    storage = elsewhere or dagster_storage_url(settings)
    if manifest.dagster is not None and storage is not None:
        with _scratch_database(storage) as url:
            found = _restore_storage(settings, backup, manifest.dagster, url, say)
            restored = replace(restored, differences=(*restored.differences, *found))
    return restored


def _require_usable(settings: Settings, backup: Backup, say: Say) -> Manifest:
    """Return the manifest of a backup that this program can restore with these settings."""
    manifest = backup.manifest()
    if manifest.kind is Kind.EVENTS:
        raise AnalyticsError(f"{backup.location} holds events alone: they are ingested, not restored.")
    if manifest.kind is Kind.EMBEDDED and settings.database_url is not None:
        raise AnalyticsError(
            f"{backup.location} is of an embedded database, and ANALYTICS_DATABASE_URL names a server: unset it, or "
            "move the events alone (backup --events)."
        )
    if manifest.kind is Kind.SERVER and settings.database_url is None:
        raise AnalyticsError(
            f"{backup.location} is of a database server: set ANALYTICS_DATABASE_URL to a new, empty database."
        )
    if manifest.schema > newest_migration():
        raise AnalyticsError(
            f"{backup.location} has migration {manifest.schema:04d}, this program only knows {newest_migration():04d}: "
            "update the program."
        )
    engine = None if manifest.database is None else manifest.database.engine
    if engine is not None and engine != engine_name():
        raise AnalyticsError(
            f"{backup.location} is of the database engine {engine}, this program has {engine_name()}: restore it with "
            f"release {manifest.program} of this program."
        )
    say(f"reading {manifest.bytes:,} bytes and comparing their checksums")
    backup.require_undamaged(manifest)
    return manifest


def _restore_server(settings: Settings, backup: Backup, manifest: Manifest, say: Say) -> Restored:
    stored = _database_of(manifest)
    with connect(settings, autocommit=True) as connection:
        _require_empty(connection, "The database", "make a new one (CREATE DATABASE) and set ANALYTICS_DATABASE_URL")
        program = _require_fit(settings, connection, stored)
        groups = _require_roles(connection, stored)
        _prepare_extension(connection, manifest.timescaledb)
        _require_rights(connection)
        for group in groups:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
        _apply_settings(connection, stored)
        connection.execute("SELECT timescaledb_pre_restore()")
    say(f"restoring {stored.content.rows:,} rows")
    _run_restore(program, database_url(settings), backup, stored, say)
    with connect(settings, autocommit=True) as connection:
        _switch_off(connection)
        for _ in range(1 if parse_version(manifest.timescaledb) >= _ONE_POST_RESTORE else 2):
            connection.execute("SELECT timescaledb_post_restore()")
        connection.execute("ANALYZE")
    return _verify(settings, manifest, say)


def _run_restore(program: Path, url: str, backup: Backup, stored: StoredDatabase, say: Say) -> None:
    tables = len(stored.content.tables) + 2 * len(stored.content.chunks)
    try:
        with backup.read(stored.file) as file:
            restore(program, url, file, say=now_and_then(say, stored.file, tables))
    except AnalyticsError as error:
        raise AnalyticsError(
            f"{error} The database holds a part of the backup now: drop it, make it anew, and repeat."
        ) from error


def _restore_storage(settings: Settings, backup: Backup, stored: StoredDatabase, url: str, say: Say) -> list[str]:
    """Restore Dagster's storage into an empty database and return in what it differs."""
    say(f"restoring Dagster's storage: {stored.content.rows:,} rows")
    with connect_to_storage(url) as connection:
        program = _require_fit(settings, connection, stored)
    _run_restore(program, url, backup, stored, say)
    with connect_to_storage(url) as connection:
        found = read_tables(connection)
    return [f"Dagster's storage: {line}" for line in differences(stored.content, found)]


def _restore_embedded(settings: Settings, backup: Backup, manifest: Manifest, say: Say) -> Restored:
    """Unpack and prove the copy beside the home's own database, and put it in its place as the last step."""
    server = EmbeddedTimescale(settings.home)
    if server.data_dir.exists():
        with connect(settings, autocommit=True) as connection:
            _require_empty(connection, "The embedded database", "choose another ANALYTICS_HOME")
        if not server.stop_if_unused(timeout=30):
            raise AnalyticsError("Another process uses the embedded database: end it, and repeat.")
    with _unpacked(settings, backup, manifest, say) as home:
        restored = _verify_embedded(settings, home, manifest, say)
        if restored.differences:
            return replace(restored, notes=(*restored.notes, "The embedded database was left as it was."))
        server.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if server.data_dir.exists():
            shutil.rmtree(server.data_dir)
        (home / "timescaledb" / "data").rename(server.data_dir)
    return restored


@contextmanager
def _unpacked(settings: Settings, backup: Backup, manifest: Manifest, say: Say) -> Iterator[Path]:
    """Give a home beside the configured one that holds the copy, for the block."""
    stored = _database_of(manifest)
    settings.home.mkdir(parents=True, exist_ok=True)
    _remove_left_behind(settings.home)
    home = settings.home / f"{_ASIDE}{secrets.token_hex(4)}"
    home.mkdir(mode=0o700)
    lock = os.open(home, os.O_RDONLY)
    keep_locked(lock)
    try:
        engine = settings.home / "engine"
        if engine.exists():
            (home / "engine").symlink_to(engine)
        say("unpacking the data directory")
        with backup.read(stored.file) as file:
            unpack_data(file, home)
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
        os.close(lock)


def _remove_left_behind(home: Path) -> None:
    """Stop and remove what killed restores have left beside the home's own databases."""
    for path in home.glob(f"{_ASIDE}*"):
        if is_left_behind(path):
            EmbeddedTimescale(path).stop()
            shutil.rmtree(path, ignore_errors=True)


def _verify_embedded(settings: Settings, home: Path, manifest: Manifest, say: Say) -> Restored:
    aside = settings.model_copy(update={"home": home})
    with running_aside(home):
        with connect(aside, autocommit=True) as connection:
            _switch_off(connection)
        return _verify(aside, manifest, say)


def _verify(settings: Settings, manifest: Manifest, say: Say) -> Restored:
    """Compare the restored database with what the manifest says of it."""
    wanted, notes = _database_of(manifest).content, []
    if manifest.schema < newest_migration():
        wanted = replace(wanted, figures=())
        notes.append(
            f"Figures were not computed anew: the backup has migration {manifest.schema:04d}, this program "
            f"{newest_migration():04d}. Run 'analytics-pipeline db migrate'."
        )
    with connect(settings, autocommit=True) as connection:
        settle_session(connection)
        with one_state(connection, read_only=False):
            found = read_content(connection, manifest.currency, _months(wanted), say)
        return Restored(
            manifest=manifest,
            differences=tuple(differences(wanted, found)),
            switched_off=tuple(policy for policy in wanted.policies if policy.scheduled),
            lost_grants=tuple(grant for grant in list_grants(connection) if not grant.holds),
            notes=tuple(notes),
        )


def _months(content: Content) -> list[Window]:
    months = [datetime.fromisoformat(f"{month.month}-01T00:00:00+00:00") for month in content.figures]
    return [Window(month, Granularity.MONTH.next(month)) for month in months]


def _database_of(manifest: Manifest) -> StoredDatabase:
    if manifest.database is None:
        raise LookupError(f"{manifest.name} holds no database")
    return manifest.database


def _require_empty(connection: Connection, what: str, remedy: str) -> None:
    found = connection.execute(load_query("backup_relations")).fetchall()
    if found:
        raise AnalyticsError(
            f"{what} is not empty: it holds {found[0][0]} and {len(found) - 1} others. A backup is restored into an "
            f"empty one only: {remedy}."
        )


def _require_empty_storage(settings: Settings, stored: StoredDatabase) -> None:
    """Start Dagster's storage, and refuse one that holds something, or that the backup doesn't fit."""
    if settings.dagster_postgres_url is None:
        EmbeddedPostgres(settings.home).start()
    url = dagster_storage_url(settings)
    if url is None:
        raise LookupError("Dagster's storage was just started")
    with connect_to_storage(url) as connection:
        _require_empty(
            connection,
            "Dagster's storage",
            "name an empty one by DAGSTER_POSTGRES_URL, or leave it as it is (--without-dagster)",
        )
        _require_fit(settings, connection, stored)


def _require_fit(settings: Settings, connection: Connection, stored: StoredDatabase) -> Path:
    """Return the program that restores into this server; raises ``AnalyticsError`` for an older one."""
    major, wanted = postgres_major(connection), int(stored.postgresql.split(".")[0])
    if major < wanted:
        raise AnalyticsError(
            f"The backup is of PostgreSQL {stored.postgresql}, this server is of {major}: use a server of version "
            f"{wanted} or later."
        )
    return find_program("pg_restore", major, settings.pg_bin)


def _require_roles(connection: Connection, stored: StoredDatabase) -> list[str]:
    """Return the groups of ours that the server lacks; raises ``AnalyticsError`` naming what makes other roles."""
    found = {role for (role,) in connection.execute("SELECT rolname::text FROM pg_roles")}
    missing = [role for role in stored.roles if role not in found]
    foreign = [role for role in missing if role not in GROUPS]
    if foreign:
        statements = " ".join(f'CREATE ROLE "{role}" LOGIN;' for role in foreign)
        raise AnalyticsError(
            "This server lacks roles that own something in the backup, or may use it: have an administrator run "
            f"{statements} and repeat."
        )
    return missing


def _prepare_extension(connection: Connection, version: str) -> None:
    """Create the extension in the very version of the backup, which nothing else can read."""
    installed = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    if installed is not None and installed[0] != version:
        raise AnalyticsError(
            f"The backup is of TimescaleDB {version}, this database has {installed[0]}: drop the extension "
            "(DROP EXTENSION timescaledb), and repeat."
        )
    if installed is not None:
        return
    available = [
        name
        for (name,) in connection.execute(
            "SELECT version FROM pg_available_extension_versions WHERE name = 'timescaledb'"
        )
    ]
    if version not in available:
        shown = ", ".join(sorted(available)) or "none"
        raise AnalyticsError(
            f"The backup is of TimescaleDB {version}, which this server lacks (it has {shown}): install that version, "
            "restore, and update the extension afterwards (ALTER EXTENSION timescaledb UPDATE)."
        )
    connection.execute(sql.SQL("CREATE EXTENSION timescaledb VERSION {}").format(sql.Literal(version)))


def _require_rights(connection: Connection) -> None:
    query = "SELECT has_table_privilege('_timescaledb_catalog.hypertable', 'INSERT')"
    if not fetch_row(connection, query)[0]:
        raise AnalyticsError(
            f"The role {connection.info.user} may not write TimescaleDB's catalog: restore as a superuser; for a "
            "rehearsal ANALYTICS_REHEARSAL_URL names one."
        )


def _apply_settings(connection: Connection, stored: StoredDatabase) -> None:
    """Set what the database itself had set, which no dump holds."""
    database = sql.Identifier(connection.info.dbname)
    for name, value in stored.settings.items():
        statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
        connection.execute(statement.format(database, sql.Identifier(*name.split(".")), sql.Literal(value)))


def _switch_off(connection: Connection) -> None:
    """Unschedule every job but TimescaleDB's own."""
    connection.execute(
        "SELECT alter_job(j.job_id, scheduled => false) FROM timescaledb_information.jobs AS j "
        "WHERE j.job_id >= 1000 AND j.scheduled"
    )


@contextmanager
def _scratch_database(server: str) -> Iterator[str]:
    """Give the connection string of a new database on a server, by whose URL it is made, and drop it after the block.

    One at a time: those that are there already are of rehearsals that were killed, and dropped first.
    """
    with connect_to_server(server, "ANALYTICS_REHEARSAL_URL, or the URL of the database") as admin:
        if not fetch_row(admin, "SELECT pg_try_advisory_lock(%s)", [_SCRATCH_LOCK])[0]:
            raise AnalyticsError("Another rehearsal is running on this server: wait until it is done.")
        # The lock is one of the admin's database, so the names are, too.
        own = hashlib.sha256(admin.info.dbname.encode()).hexdigest()[:8]
        prefix = f"{_SCRATCH}{own}_"
        left = admin.execute("SELECT datname::text FROM pg_database WHERE starts_with(datname, %s)", [prefix])
        for (database,) in left.fetchall():
            _drop(admin, database)
        name = f"{prefix}{secrets.token_hex(4)}"
        try:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege as error:
            raise AnalyticsError(
                f"The role {admin.info.user} may not make a database to restore into: name a server and a superuser by "
                "ANALYTICS_REHEARSAL_URL."
            ) from error
        try:
            parts = {key: str(value) for key, value in conninfo_to_dict(server).items() if value is not None}
            yield make_conninfo(**{**parts, "dbname": name})
        finally:
            if not admin.closed:
                _drop(admin, name)


def _drop(admin: Connection, database: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def _with_database(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"database_url": SecretStr(url)})
