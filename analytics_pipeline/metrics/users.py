"""User figures: thin typed calls of ``sql/functions/users.sql``, and the table of users they stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from analytics_pipeline.sql_files import load_sql
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

USERS = "analytics_users"
USER_COLUMNS: Mapping[str, Column] = {
    "company_id": Column("text", "The tenant."),
    "user_id": Column("text", "The user within the company."),
    "first_seen": Column("timestamptz", "Time of the user's first event of any kind, UTC."),
    "deleted_at": Column("timestamptz", "Time of the user's deletion, UTC; null while not deleted."),
}


@dataclass(frozen=True, slots=True)
class UserMonth:
    """Users of one calendar month (UTC): distinct active ones, and those first seen in it."""

    month: date
    active_users: int
    new_users: int


def active_users(connection: Connection, company_id: str | None, window: Window) -> int:
    """Return the distinct users with an event of their own in the window; ``None`` means all companies."""
    return _scalar(connection, "SELECT analytics_active_users(%s, %s, %s)", company_id, window)


def new_users(connection: Connection, company_id: str | None, window: Window) -> int:
    """Return the users whose first event lies in the window, as of the last closed day."""
    return _scalar(connection, "SELECT analytics_new_users(%s, %s, %s)", company_id, window)


def user_series(connection: Connection, company_id: str | None, window: Window) -> list[UserMonth]:
    """Return active and new users of whole UTC months, one entry a month, zeros included."""
    rows = connection.execute(
        "SELECT (month AT TIME ZONE 'UTC')::date, active_users, new_users FROM analytics_user_series(%s, %s, %s)",
        [company_id, window.start, window.end],
    ).fetchall()
    return [UserMonth(*row) for row in rows]


def update_users(connection: Connection, window: Window) -> int:
    """Bring ``analytics_users`` up to date with the events of a window and return the rows it changed.

    Repeating it, in any order of windows, gives the same table; it never forgets a user.
    """
    return connection.execute(load_sql("queries/upsert_users.sql"), {"start": window.start, "end": window.end}).rowcount


def _scalar(connection: Connection, query: str, company_id: str | None, window: Window) -> int:
    row = fetch_row(connection, query, [company_id, window.start, window.end])
    return int(row[0])
