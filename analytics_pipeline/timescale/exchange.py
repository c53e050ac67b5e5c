"""The new aggregates of a rebuild take the names of the old ones, with all that stands beside their rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from analytics_pipeline.errors import RefusedError, first_line
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.policies import (
    COMPRESSION,
    REFRESH,
    RETENTION,
    Policy,
    add_policy,
    read_policies,
)
from analytics_pipeline.timescale.replacement import Replacement, aggregate_exists, stored_table

# The name of an old aggregate from the exchange until it is dropped.
_PREFIX = "replaced_"
# Milliseconds that one exclusive lock more is waited for: PostgreSQL looks for deadlocks after a second, and would end
# the reader that has what we want and wants what we have.
_NEXT_LOCK = "300ms"
# What a policy is made of again, by its procedure.
_SETTINGS = {REFRESH: "start_offset", COMPRESSION: "compress_after", RETENTION: "drop_after"}


def require_movable(connection: Connection, targets: Sequence[Replacement]) -> None:
    """Raise ``RefusedError`` if something that depends on one of the old aggregates can't be moved to the new one."""
    ours = {name for target in targets for name in (target.aggregate.name, target.beside.name)}
    for target in targets:
        name = target.aggregate.name
        dependants = connection.execute(load_query("aggregate_dependants"), {"name": name})
        for kind, dependant, owner, is_ours, is_movable in dependants:
            if kind == "continuous aggregate" and dependant in ours:
                continue
            if not is_movable:
                raise RefusedError(
                    f"{name} can't be rebuilt: the {kind} {dependant} depends on it and would go with the old one. "
                    "Drop it, rebuild, and create it again."
                )
            if not is_ours:
                raise RefusedError(
                    f"{name} can't be rebuilt: the view {dependant} reads it and belongs to {owner}, whose role this "
                    f"login hasn't got. Rebuild as a member of {owner}, or drop the view and create it again after it."
                )
        for policy in _policies_of(connection, name):
            if _SETTINGS.get(policy.procedure) not in policy.config:
                raise RefusedError(
                    f"{name} can't be rebuilt: its job {policy.job_id} ({policy.procedure}) can't be moved. Delete it "
                    f"(SELECT delete_job({policy.job_id})), rebuild, and add it again."
                )


def hold_writers(connection: Connection, targets: Sequence[Replacement]) -> None:
    """Let nobody change stored rows of the old aggregates until the transaction ends; readers go on."""
    for target in targets:
        table = stored_table(connection, target.aggregate.name).identifier
        connection.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE MODE").format(table))


def exchange(connection: Connection, targets: Sequence[Replacement]) -> None:
    """Let the new aggregates take the place of the old ones: names, grants, comments, policies, views on them.

    One transaction, or a part of one, for which readers wait from here on. Raises ``LockTimeoutError`` when somebody
    reads for longer than may be waited, and ``RefusedError`` for a view that the new one doesn't serve; nothing has
    happened then.
    """
    with connection.transaction():
        belongings = [_Belongings.read(connection, target.aggregate.name) for target in targets]
        for target in targets:
            _rename(connection, target.aggregate.name, f"{_PREFIX}{target.aggregate.name}")
            connection.execute("SELECT set_config('lock_timeout', %s, true)", [_NEXT_LOCK])
        for target, those in zip(targets, belongings, strict=True):
            _rename(connection, target.beside.name, target.aggregate.name)
            those.give_to(connection, target.aggregate.name)


def exchanged(connection: Connection) -> list[str]:
    """Return the old aggregates that have been exchanged and are to be dropped, each before what it is built on."""
    names = [f"{_PREFIX}{aggregate.name}" for aggregate in reversed(AGGREGATES)]
    return [name for name in names if aggregate_exists(connection, name)]


def drop_exchanged(connection: Connection, names: Sequence[str]) -> None:
    """Drop old aggregates, in one transaction: for a moment nobody may read or write events."""
    with connection.transaction():
        for name in names:
            connection.execute(sql.SQL("DROP MATERIALIZED VIEW {}").format(sql.Identifier(name)))


@dataclass(frozen=True, slots=True)
class _Belongings:
    """What stands beside the rows of an aggregate, as the database says it."""

    grants: Sequence[tuple[str | None, str, bool, str | None]]
    comments: Sequence[tuple[str | None, str]]
    views: Sequence[tuple[str, Sequence[str] | None, str]]
    policies: Sequence[Policy]

    @classmethod
    def read(cls, connection: Connection, name: str) -> "_Belongings":
        grants, comments, views = (
            connection.execute(load_query(query), {"name": name}).fetchall()
            for query in ("aggregate_grants", "aggregate_comments", "aggregate_views")
        )
        return cls(grants, comments, views, _policies_of(connection, name))

    def give_to(self, connection: Connection, name: str) -> None:
        relation = sql.Identifier(name)
        columns = {column for (column,) in connection.execute(load_query("aggregate_columns"), {"name": name})}
        # What somebody's default privileges have granted.
        for grantee, *_ in connection.execute(load_query("aggregate_grants"), {"name": name}).fetchall():
            connection.execute(sql.SQL("REVOKE ALL ON {} FROM {}").format(relation, _role(grantee)))
        for grantee, privilege, is_grantable, column in self.grants:
            if column is None or column in columns:
                statement = sql.SQL("GRANT {}{} ON {} TO {}{}").format(
                    sql.SQL(privilege),
                    sql.SQL("") if column is None else sql.SQL(" ({})").format(sql.Identifier(column)),
                    relation,
                    _role(grantee),
                    sql.SQL(" WITH GRANT OPTION" if is_grantable else ""),
                )
                connection.execute(statement)
        for column, text in self.comments:
            if column is None:
                connection.execute(sql.SQL("COMMENT ON VIEW {} IS {}").format(relation, sql.Literal(text)))
            elif column in columns:
                of = sql.Identifier(name, column)
                connection.execute(sql.SQL("COMMENT ON COLUMN {} IS {}").format(of, sql.Literal(text)))
        for view, options, query in self.views:
            # Its text was written down before the names changed: it names the new one now. Grants, comments and what
            # depends on the view stay with it.
            statement = sql.SQL("CREATE OR REPLACE VIEW {}{} AS {}").format(
                sql.SQL(view),
                sql.SQL(" WITH ({})".format(", ".join(options))) if options else sql.SQL(""),
                sql.SQL(query),
            )
            try:
                connection.execute(statement)
            except (psycopg.errors.UndefinedColumn, psycopg.errors.InvalidTableDefinition) as error:
                raise RefusedError(
                    f"{name} can't be rebuilt: the view {view} reads what the new one has not, or not as it was "
                    f"({first_line(error)}). Drop the view, rebuild, and create it again."
                ) from error
        for policy in self.policies:
            add_policy(connection, policy)


def _policies_of(connection: Connection, name: str) -> list[Policy]:
    return [policy for policy in read_policies(connection) if policy.relation == name]


def _rename(connection: Connection, old: str, new: str) -> None:
    statement = sql.SQL("ALTER MATERIALIZED VIEW {} RENAME TO {}")
    connection.execute(statement.format(sql.Identifier(old), sql.Identifier(new)))


def _role(name: str | None) -> sql.Composable:
    return sql.SQL("PUBLIC") if name is None else sql.Identifier(name)
