"""Who may read which company's figures: roles of the database, and the companies granted to them.

Belongs here: the rows of ``analytics_company_grants``, and the membership in ``analytics_reader`` that goes with
them. Does not belong here: what a grant lets a role see, which the tables' row-level security says, and judging
all of it (``health.access``).
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.connection import Connection

READER = "analytics_reader"


@dataclass(frozen=True, slots=True)
class Grant:
    """A company that a role, or its members, may read; None: every company."""

    role: str
    company_id: str | None
    granted_at: datetime


def grant_company(connection: Connection, role: str, company_id: str | None) -> bool:
    """Let a role read a company, None: every company, and tell whether that is new.

    From its first grant on it reads the companies granted and no others. It becomes a member of
    ``analytics_reader``. Raises ``AnalyticsError`` for a role that isn't there, or that no grant would bind.
    """
    with connection.transaction():
        found = connection.execute(load_sql("queries/access_role.sql"), {"role": role}).fetchone()
        if found is None:
            raise AnalyticsError(f"There is no role {role}: an administrator makes it, CREATE ROLE {role} LOGIN ...")
        is_unbound, is_reader = found
        if is_unbound:
            raise AnalyticsError(f"{role} bypasses row-level security and reads every company: use another role.")
        if not is_reader:
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(READER), sql.Identifier(role)))
        parameters = {"role": role, "company": company_id}
        return connection.execute(load_sql("queries/access_grant.sql"), parameters).rowcount > 0


def revoke_company(connection: Connection, role: str, company_id: str | None) -> bool:
    """Take a grant back, and tell whether the role is no reader any more.

    With its last grant a role loses ``analytics_reader``: a reader without grants names its company itself, and
    would read more than before. Raises ``AnalyticsError`` when there is no such grant, and when members of the role
    would be left readers without grants.
    """
    with connection.transaction():
        parameters = {"role": role, "company": company_id}
        if not connection.execute(load_sql("queries/access_revoke.sql"), parameters).rowcount:
            raise AnalyticsError(
                f"{role} has no grant of {describe_company(company_id)}: see 'analytics-pipeline access list'."
            )
        is_last = role in readers_without_grants(connection, role)
        if is_last:
            connection.execute(sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(READER), sql.Identifier(role)))
        widened = readers_without_grants(connection, role)
        if widened:
            raise AnalyticsError(
                f"Without this grant {', '.join(widened)} could read any company: grant companies to each of them, or "
                f"take {READER} away from them, before."
            )
        return is_last


def list_grants(connection: Connection, role: str | None = None) -> list[Grant]:
    """Return the grants of a role, or all of them."""
    rows = connection.execute(load_sql("queries/access_grants.sql"), {"role": role}).fetchall()
    return [Grant(*row) for row in rows]


def readers_without_grants(connection: Connection, role: str | None = None) -> list[str]:
    """Return the readers that name their company by ``analytics.company``, or those of them that are in a role."""
    rows = connection.execute(load_sql("queries/access_unbound.sql"), {"role": role}).fetchall()
    return [name for (name,) in rows]


def describe_company(company_id: str | None) -> str:
    """Name what is granted."""
    return "all companies" if company_id is None else company_id
