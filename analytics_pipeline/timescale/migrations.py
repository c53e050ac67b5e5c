"""Brings a database to the schema of ``sql/``: numbered migrations once each, functions and grants always.

A migration and the record of it are one transaction, so a process killed anywhere leaves either
both or neither; a session lock lets parallel commands take turns.
"""

import hashlib
import re
from dataclasses import dataclass

from psycopg import sql

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.settings import Settings, get_settings
from analytics_pipeline.sql_files import list_sql, load_sql
from analytics_pipeline.timescale.clock import read_clocks, say_difference
from analytics_pipeline.timescale.connection import Connection, connect
from analytics_pipeline.timescale.policies import PolicyChange, apply_policies
from analytics_pipeline.timescale.server import ensure_extension

_LOCK = 7_261_940_001
_NAME = re.compile(r"^migrations/(\d{4})_[a-z0-9_]+\.sql$")


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What one migration command changed."""

    applied: tuple[str, ...]
    already_applied: int
    policy_changes: tuple[PolicyChange, ...]


@dataclass(frozen=True, slots=True)
class _Migration:
    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrate(settings: Settings | None = None) -> MigrationReport:
    """Apply what is missing: migrations in order, all functions and grants, the policies of the settings.

    Safe to run twice, in parallel and after being killed. Logs a warning if this machine's clock and the
    database's differ. Raises ``AnalyticsError`` for an unfit server, for an applied file that was edited later,
    and for a database newer than this program.
    """
    settings = settings or get_settings()
    with connect(settings, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s::bigint)", [_LOCK])
        server = ensure_extension(connection)
        say_difference(read_clocks(connection))
        connection.execute(load_sql("schema_migrations.sql"))
        migrations = _read_migrations()
        _refuse_newer_database(connection, migrations)
        applied = tuple(m.name for m in migrations if _apply(connection, m))
        with connection.transaction():
            # Functions call each other whatever their order.
            connection.execute("SET LOCAL check_function_bodies = off")
            for name in list_sql("functions"):
                connection.execute(sql.SQL(load_sql(name)))
            connection.execute(load_sql("access.sql"))
        changes = apply_policies(connection, settings, server)
        return MigrationReport(applied, len(migrations) - len(applied), tuple(changes))


def _read_migrations() -> list[_Migration]:
    migrations = []
    for name in list_sql("migrations"):
        match = _NAME.match(name)
        if match is None:
            raise AnalyticsError(f"sql/{name} must be named like 0001_what_it_does.sql.")
        migrations.append(_Migration(int(match[1]), name.removeprefix("migrations/"), load_sql(name)))
    versions = [m.version for m in migrations]
    if len(set(versions)) != len(versions):
        raise AnalyticsError("Two files in sql/migrations share a number: renumber the newer one.")
    return migrations


def _refuse_newer_database(connection: Connection, migrations: list[_Migration]) -> None:
    newest = connection.execute("SELECT max(version) FROM analytics_schema_migrations").fetchone()
    if newest and newest[0] is not None and newest[0] > migrations[-1].version:
        raise AnalyticsError(
            f"The database has migration {newest[0]:04d}, this program only knows {migrations[-1].version:04d}: "
            "update the program."
        )


def _apply(connection: Connection, migration: _Migration) -> bool:
    with connection.transaction():
        row = connection.execute(
            "SELECT sha256, applied_at FROM analytics_schema_migrations WHERE version = %s",
            [migration.version],
        ).fetchone()
        if row is not None:
            if row[0] != migration.sha256:
                raise AnalyticsError(
                    f"sql/migrations/{migration.name} was edited after it was applied on {row[1]:%Y-%m-%d}: "
                    "restore the file and put the change into a new migration."
                )
            return False
        connection.execute(sql.SQL(migration.text))
        connection.execute(
            "INSERT INTO analytics_schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
            [migration.version, migration.name, migration.sha256],
        )
        return True
