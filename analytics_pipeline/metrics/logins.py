"""Logins of the database: what each kind is for, and the statements that make one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from analytics_pipeline.errors import AnalyticsError, ArgumentError
from analytics_pipeline.metrics.access import ANALYST, API, GROUPS, OPERATOR, READER, WRITER, find_role
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection, fetch_row

# A forgotten transaction would hold back migrations and the clean-up of deleted rows.
_READ_ONLY = {"default_transaction_read_only": "on", "idle_in_transaction_session_timeout": "5min"}
# What a kind may set.
_SETTINGS = (*_READ_ONLY, "statement_timeout", "role")


@dataclass(frozen=True, slots=True)
class LoginKind:
    """A kind of login: its role (None: the owner of the tables), what it is for, the settings of its sessions.

    ``takes_on``: it acts as its role from the start of a session; ``inherits``: it has the role's rights without
    taking it on by SET ROLE.
    """

    role: str | None
    purpose: str
    settings: Mapping[str, str] = field(default_factory=dict)
    takes_on: bool = False
    inherits: bool = True


LOGIN_KINDS: Mapping[str, LoginKind] = {
    "owner": LoginKind(None, "migrates, closes and does everything else the pipeline does", takes_on=True),
    "refresher": LoginKind(
        None, "refreshes aggregates after SET ROLE to the owner: TimescaleDB lets nobody else", inherits=False
    ),
    "writer": LoginKind(WRITER, "records events, and changes none that are stored"),
    "reader": LoginKind(
        READER, "reads the figures of the companies granted to it", _READ_ONLY | {"statement_timeout": "1min"}
    ),
    "api": LoginKind(API, "reads the figures of the company that its session names"),
    "operator": LoginKind(
        OPERATOR, "reads operations and the figures of every company", _READ_ONLY | {"statement_timeout": "1min"}
    ),
    "analyst": LoginKind(
        ANALYST, "reads events, aggregates and figures of every company", _READ_ONLY | {"statement_timeout": "15min"}
    ),
}


@dataclass(frozen=True, slots=True)
class LoginPlan:
    """The statements that make a login of a kind, in order; ``is_new``: the role doesn't exist yet."""

    kind: str
    name: str
    is_new: bool
    statements: tuple[sql.Composed, ...]


def plan_login(connection: Connection, kind: str, name: str) -> LoginPlan:
    """Return what makes ``name``, a new role or one that is there, a login of a kind (``LOGIN_KINDS``).

    No statement holds a password. Raises ``AnalyticsError`` for a role that can't be one, for a database whose tables
    belong to a superuser where the login would become one, and on the embedded server, which knows no logins.
    """
    wanted = LOGIN_KINDS[kind]
    row = fetch_row(connection, load_query("access_database"))
    database, owner, owner_is_superuser, is_embedded = row
    if is_embedded:
        raise AnalyticsError(
            "The embedded database knows no logins, whoever reaches its socket is its owner: take on a role by "
            f"SET ROLE {wanted.role or owner}."
        )
    if not name.strip() or name in {*GROUPS, owner, "public", "none"} or name.startswith("pg_"):
        raise ArgumentError(f"{name!r} can't be a login of somebody: choose another name.")
    if wanted.role is None and owner_is_superuser:
        raise AnalyticsError(
            f"The tables belong to the superuser {owner}, and whoever acts as their owner would be one: give them to a "
            "role that is none first (docs/access.md)."
        )
    role = sql.Identifier(wanted.role or owner)
    who, where = sql.Identifier(name), sql.Identifier(database)
    found = find_role(connection, name)
    if found is not None and found.is_unbound:
        raise AnalyticsError(f"{name} is a superuser or bypasses row-level security, and may do anything already.")
    options = sql.SQL(" WITH INHERIT {}, SET TRUE").format(sql.SQL("TRUE" if wanted.inherits else "FALSE"))
    # A role that is there may be a group, which can't log in.
    statements = [sql.SQL("{} ROLE {} LOGIN").format(sql.SQL("CREATE" if found is None else "ALTER"), who)]
    statements += [
        sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(where, who),
        sql.SQL("GRANT {} TO {}").format(role, who) + options,
    ]
    settings: dict[str, sql.Composable] = {name: sql.Literal(value) for name, value in wanted.settings.items()}
    if wanted.takes_on:
        settings["role"] = role
    # In this database alone: roles belong to the whole server. One that was another kind before has that kind's.
    alter = sql.SQL("ALTER ROLE {} IN DATABASE {} ").format(who, where)
    if found is not None:
        statements += [
            alter + sql.SQL("RESET {}").format(sql.Identifier(name)) for name in _SETTINGS if name not in settings
        ]
    statements += [
        alter + sql.SQL("SET {} = {}").format(sql.Identifier(name), value) for name, value in settings.items()
    ]
    return LoginPlan(kind, name, found is None, tuple(statements))


def make_login(connection: Connection, plan: LoginPlan, password: str | None) -> None:
    """Run the statements, all or none of them; ``password`` None: as it is, or by another way of logging in.

    What reaches the server is a verifier of the password (SCRAM-SHA-256), which its log may show. Raises
    ``AnalyticsError`` when this login may not make roles or grant this one.
    """
    try:
        with connection.transaction():
            for statement in plan.statements:
                connection.execute(statement)
            if password is not None:
                connection.execute(_password_statement(connection, plan.name, password))
            audit.record(connection, "login.make", plan.name, {"kind": plan.kind, "is new": plan.is_new})
    except psycopg.errors.InsufficientPrivilege as error:
        raise AnalyticsError(
            f"This login may not do that ({error.diag.message_primary}): without --run the command prints the "
            "statements, for an administrator."
        ) from error


def _password_statement(connection: Connection, name: str, password: str) -> sql.Composed:
    encoded = password.encode()
    verifier = connection.pgconn.encrypt_password(encoded, name.encode(), b"scram-sha-256").decode()
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))
