"""Who may read which company's figures: roles of the database, and the companies granted to them."""

import shlex
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from analytics_pipeline.errors import AnalyticsError, ArgumentError, UnknownNameError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.text import printable_line
from analytics_pipeline.timescale import audit
from analytics_pipeline.timescale.connection import Connection

READER = "analytics_reader"
# Its members name the company of their session, as applications do that serve many companies.
API = "analytics_api"
WRITER = "analytics_writer"
# Both read every company: operations and figures, and the events and aggregates behind them.
OPERATOR = "analytics_operator"
ANALYST = "analytics_analyst"
# The roles that migrations make; logins are members of them.
GROUPS = (READER, API, WRITER, OPERATOR, ANALYST)


@dataclass(frozen=True, slots=True)
class Grant:
    """A company that a role may read; None: every company.

    It holds while its role is the one it was given to: one that was renamed, or dropped and made again, is another.
    """

    role: str
    company_id: str | None
    granted_at: datetime
    holds: bool


@dataclass(frozen=True, slots=True)
class Reader:
    """A role of the database, as far as a grant to it is concerned; ``members`` would read by it too."""

    is_unbound: bool
    sees_everything: bool
    names_its_company: bool
    is_reader: bool
    members: list[str]


def grant_company(connection: Connection, role: str, company_id: str | None) -> bool:
    """Let a role read a company, None: every company, and return whether that is new.

    It becomes a member of ``analytics_reader``, and reads the companies granted and no others. Raises
    ``AnalyticsError`` for a role that isn't there, and where the grant would mean something else than it says.
    """
    if company_id is not None and not company_id.strip():
        raise ArgumentError("The company is empty: name one, or say --all-companies.")
    with connection.transaction():
        found = find_role(connection, role)
        if found is None:
            raise UnknownNameError(
                f"There is no role {role}: 'analytics-pipeline access login reader {shlex.quote(role)}' prints the "
                "statements that make it."
            )
        why_not = why_no_grant(role, found)
        if why_not is not None:
            raise AnalyticsError(why_not)
        if not found.is_reader:
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(READER), sql.Identifier(role)))
        parameters = {"role": role, "company": company_id}
        is_new = connection.execute(load_query("access_grant"), parameters).rowcount > 0
        if is_new:
            audit.record(connection, "grant.add", role, {"company": company_id})
        return is_new


def why_no_grant(role: str, found: Reader) -> str | None:
    """Return why a grant to a role would mean something else than it says, None where it means that."""
    if role in GROUPS or role.startswith("pg_"):
        return f"{role} is a group, not somebody: grant companies to the role that logs in."
    if found.is_unbound:
        return f"{role} bypasses row-level security and reads every company: use another role."
    if found.sees_everything:
        return (
            f"{role} is an operator or analyst, owns the tables or reads all data, and with that every company: use "
            "another role."
        )
    if found.names_its_company:
        return (
            f"{role} is in {API} and names the company of its session, any of them: take {API} away from it, or use "
            "another role."
        )
    if found.members:
        return (
            f"{role} has the members {', '.join(found.members)}, who would read by the same grant: grant the company "
            "to each of them."
        )
    return None


def confirm_grants(connection: Connection, role: str | None) -> list[Grant]:
    """Let the grants of a role that don't hold do so, None: of every role, and return them; autocommit connection.

    For a database that was restored on another server, where roles of the same names have other numbers: whoever
    confirms says that each is the same person. Raises ``AnalyticsError`` as ``grant_company`` does, and changes nothing
    then.
    """
    lost = [grant for grant in list_grants(connection, role) if not grant.holds]
    with connection.transaction():
        for grant in lost:
            grant_company(connection, grant.role, grant.company_id)
    return lost


def revoke_company(connection: Connection, role: str, company_id: str | None) -> bool:
    """Take a grant back, and return whether the role is no reader any more: with its last one it is none.

    Works for a role that is gone, too. Raises ``AnalyticsError`` when there is no such grant.
    """
    with connection.transaction():
        parameters = {"role": role, "company": company_id}
        if not connection.execute(load_query("access_revoke"), parameters).rowcount:
            raise AnalyticsError(
                f"{role} has no grant of {describe_company(company_id)}: see 'analytics-pipeline access list'."
            )
        is_last = not list_grants(connection, role) and role in readers_without_grants(connection)
        if is_last:
            connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(READER), sql.Identifier(role)))
        audit.record(connection, "grant.remove", role, {"company": company_id, "was the last": is_last})
        return is_last


def list_grants(connection: Connection, role: str | None = None) -> list[Grant]:
    """Return the grants of a role, or all of them."""
    rows = connection.execute(load_query("access_grants"), {"role": role}).fetchall()
    return [Grant(*row) for row in rows]


def misleading_grants(connection: Connection) -> dict[str, str]:
    """Return the roles whose grants hold and mean something else than they say, each with why."""
    found = {}
    for name in {grant.role for grant in list_grants(connection) if grant.holds}:
        role = find_role(connection, name)
        why = None if role is None else why_no_grant(name, role)
        if why is not None:
            found[name] = why
    return dict(sorted(found.items()))


def readers_without_grants(connection: Connection) -> list[str]:
    """Return the readers that see no company: no grant of theirs holds, and they name none themselves."""
    return [name for name, names_its_company in _without_grants(connection) if not names_its_company]


def readers_of_any_company(connection: Connection) -> list[str]:
    """Return the readers that name the company of their session by ``analytics.company``, whichever it is."""
    return [name for name, names_its_company in _without_grants(connection) if names_its_company]


def find_role(connection: Connection, role: str) -> Reader | None:
    """Return what a role is with regard to grants, None without such a role."""
    row = connection.execute(load_query("access_role"), {"role": role}).fetchone()
    return None if row is None else Reader(*row)


def describe_company(company_id: str | None) -> str:
    """Name what is granted."""
    return "all companies" if company_id is None else printable_line(company_id)


def _without_grants(connection: Connection) -> list[tuple[str, bool]]:
    return connection.execute(load_query("access_unbound")).fetchall()
