"""Brings a database to the schema of ``sql/``: numbered migrations once each, the other files where they differ.

A migration and the record of it are one transaction, so a process killed anywhere leaves either
both or neither; a session lock lets parallel commands take turns. What has nothing to do takes no lock that
anybody would wait for; what changes something waits for others only briefly at a time.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

from psycopg import sql

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sql_files import list_sql, load_sql
from analytics_pipeline.timescale.catalog import require_known_catalog
from analytics_pipeline.timescale.clock import read_clocks, say_difference
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.declaration import outdated_aggregates, rebuild_command
from analytics_pipeline.timescale.policies import (
    APPLY,
    PolicyChange,
    PolicyValues,
    begin_archive,
    policy_differences,
    policy_records,
    policy_values,
    same_age,
    settle_policies,
)
from analytics_pipeline.timescale.schema_parts import bring_up_to_date
from analytics_pipeline.timescale.server import ensure_extension
from analytics_pipeline.timescale.waiting import WatchedConnection, change_briefly

_LOCK = 7_261_940_001
_NAME = re.compile(r"^migrations/(\d{4})_[a-z0-9_]+\.sql$")


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What one migration command changed; ``notes`` are sentences about policies and aggregates left as they are.

    ``renewed`` names the parts of the schema (functions, views, access, row_security) that were applied again.
    """

    applied: tuple[str, ...]
    already_applied: int
    renewed: tuple[str, ...]
    policy_changes: tuple[PolicyChange, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Migration:
    version: int
    name: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def apply_migrations(
    connection: WatchedConnection, new_policies: PolicyValues, *, named: Collection[str], archive: str | None = None
) -> MigrationReport:
    """Apply what is missing: migrations in order, functions, views and grants, the policies of a new database.

    ``new_policies`` count for a new database only: a policy that is there stays as it is; of those that somebody has
    ``named``, it is said where the database wants another. ``archive`` is where events are to be kept before they are
    dropped, without credentials: with it the database has an archive from then on. Autocommit connection, which is to
    be closed afterwards: it keeps the lock of migrations. Safe to run twice, in parallel and after being killed. Logs a
    warning if this machine's clock and the database's differ. Raises ``AnalyticsError`` for an unfit server, for an
    applied file that was edited later, for a database newer than this program, and when another session holds what has
    to change for longer than the connection waits.
    """
    connection.execute("SELECT pg_advisory_lock(%s::bigint)", [_LOCK])
    server = ensure_extension(connection)
    say_difference(read_clocks(connection))
    require_known_catalog(connection)
    connection.execute(load_sql("schema_migrations.sql"))
    migrations = _read_migrations()
    _refuse_newer_database(connection, migrations)
    applied = tuple(m.name for m in migrations if _apply(connection, m))
    renewed = bring_up_to_date(connection)
    was_settled = bool(policy_records(connection))
    changes = settle_policies(connection, server, new_policies)
    has_begun = archive is not None and begin_archive(connection, archive)
    notes = (*_policy_notes(connection, new_policies, named, was_settled=was_settled), *_aggregate_notes(connection))
    if has_begun:
        notes = (f"Events are kept in {archive} from now on before they are dropped, by 'archive run'.", *notes)
    return MigrationReport(applied, len(migrations) - len(applied), renewed, tuple(changes), notes)


def newest_migration() -> int:
    """Return the number of the newest migration that this program brings along."""
    return _read_migrations()[-1].version


def schema_version(connection: Connection) -> int:
    """Return the number of the newest migration that a migrated database has."""
    return int(fetch_row(connection, "SELECT max(version) FROM analytics_schema_migrations")[0])


def _policy_notes(
    connection: Connection, new_policies: PolicyValues, named: Collection[str], *, was_settled: bool
) -> Iterator[str]:
    """Say what was adopted, where the environment asks for something else, and where a policy is not as wanted."""
    records = policy_records(connection)
    if not was_settled and any(record.origin == "adopted" for record in records.values()):
        adopted = ", ".join(f"{name} {record.value}" for name, record in records.items())
        yield f"The policies that this database has are from now on those that it wants: {adopted}."
    for name, record in records.items():
        asked = getattr(new_policies, name)
        if name in named and not _same_value(connection, name, asked, record.value):
            yield (
                f"ANALYTICS_{name.upper()}={asked} counts for a new database only; this one wants {record.value} "
                f"(set on {record.set_at:%Y-%m-%d} by {record.set_by}, {record.client}). "
                f"To change it: 'analytics-pipeline db policies --{name.replace('_', '-')} \"{asked}\"'."
            )
    for difference in policy_differences(connection, policy_values(connection)):
        yield f"{difference.text}. To apply what is wanted: '{APPLY}'."


def _aggregate_notes(connection: Connection) -> Iterator[str]:
    for aggregate in outdated_aggregates(connection):
        yield (
            f"{aggregate.name} is not as this version declares it, and stays as it is until it is rebuilt, for which "
            f"nobody has to wait: '{rebuild_command(aggregate)}'."
        )


def _same_value(connection: Connection, name: str, one: str, other: str) -> bool:
    return one == other if name == "refresh_owner" else same_age(connection, one, other)


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


def _apply(connection: WatchedConnection, migration: _Migration) -> bool:
    """Apply a migration unless it is there, and return whether it was missing."""
    if _is_applied(connection, migration):
        return False
    return change_briefly(connection, partial(_execute, connection, migration))


def _is_applied(connection: Connection, migration: _Migration) -> bool:
    row = connection.execute(
        "SELECT sha256, applied_at FROM analytics_schema_migrations WHERE version = %s",
        [migration.version],
    ).fetchone()
    if row is not None and row[0] != migration.sha256:
        raise AnalyticsError(
            f"sql/migrations/{migration.name} was edited after it was applied on {row[1]:%Y-%m-%d}: "
            "restore the file and put the change into a new migration."
        )
    return row is not None


def _execute(connection: Connection, migration: _Migration) -> bool:
    with connection.transaction():
        # Again: on the embedded database the lock of migrations lets everybody in, and transactions take turns.
        if _is_applied(connection, migration):
            return False
        connection.execute(sql.SQL(migration.text))
        connection.execute(
            "INSERT INTO analytics_schema_migrations (version, name, sha256) VALUES (%s, %s, %s)",
            [migration.version, migration.name, migration.sha256],
        )
        return True
