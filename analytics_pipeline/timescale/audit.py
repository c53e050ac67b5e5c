"""Who did what: acts of operators, kept in ``analytics_audit`` in the transaction of the act itself."""

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row

AUDIT = "analytics_audit"


@dataclass(frozen=True, slots=True)
class Act:
    """One act: when (UTC), who, what was done to whom or what.

    ``session_role`` logged in to the database; ``actor`` is the person behind it as far as the program knows.
    """

    audit_id: int
    happened_at: datetime
    session_role: str
    actor: str
    act: str
    subject: str
    details: Mapping[str, Any]


def record(
    connection: Connection, act: str, subject: str, details: Mapping[str, Any], *, actor: str | None = None
) -> int:
    """Add an act such as ``grant.add`` to the audit table, in the connection's transaction, and return its number.

    ``actor`` is the name of an access token; None: user and machine of this process. No secret goes into ``details``,
    which is kept as JSON (dates and decimals as text).
    """
    values = {"actor": actor or local_actor(), "act": act, "subject": subject, "details": _json(details)}
    query = "SELECT analytics_record_act(%(actor)s, %(act)s, %(subject)s, %(details)s::jsonb)"
    number: int = fetch_row(connection, query, values)[0]
    return number


def list_acts(
    connection: Connection, *, act: str | None = None, subject: str | None = None, limit: int = 100
) -> list[Act]:
    """Return the newest acts first: all, those of a kind (``grant.add``, or ``grant``), or those to one subject."""
    parameters = {"act": act, "subject": subject, "limit": limit}
    with connection.cursor(row_factory=class_row(Act)) as cursor:
        return cursor.execute(load_query("audit_list"), parameters).fetchall()


def local_actor() -> str:
    """Return ``user@machine`` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have a number only.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _json(details: Mapping[str, Any]) -> str:
    return json.dumps(details, default=str, ensure_ascii=False)
