"""User figures: thin typed calls of ``sql/functions/users.sql``, and the table of users they stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from analytics_pipeline.metrics.periods import previous_window
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import HorizonError, retention_horizon
from analytics_pipeline.windows import Cadence, Window

USERS = "analytics_users"
USER_COLUMNS: Mapping[str, Column] = {
    "company_id": Column("text", "The tenant."),
    "user_id": Column("text", "The user within the company."),
    "first_seen": Column("timestamptz", "Time of the user's first event of any kind, UTC."),
    "deleted_at": Column("timestamptz", "Time of the user's first deletion, UTC; null while not deleted."),
}


@dataclass(frozen=True, slots=True)
class UserMetrics:
    """The user answer's figures of a period; rates are unrounded per cents, None without a base."""

    total_users: int
    active_users: int
    new_users: int
    churned_users: int
    users_at_start: int
    churn_rate: Decimal | None
    active_user_rate: Decimal | None
    churn_rate_of_start: Decimal | None


@dataclass(frozen=True, slots=True)
class UserMonth:
    """Users of one calendar month (UTC): distinct active ones, and those first seen in it."""

    month: date
    active_users: int
    new_users: int


def user_metrics(connection: Connection, company_id: str | None, window: Window) -> UserMetrics:
    """Return the user figures of any window; ``None`` means all companies.

    Raises ``HorizonError`` for a window that is not made of whole months when raw events it needs have expired.
    """
    require_raw_users(connection, window)
    query = "SELECT * FROM analytics_user_metrics(%s, %s, %s)"
    return UserMetrics(*fetch_row(connection, query, [company_id, window.start, window.end]))


def require_raw_users(connection: Connection, window: Window) -> None:
    """Raise ``HorizonError`` if the window's users, or those of the period before, have partly expired."""
    if window.is_aligned(Cadence.MONTH):
        return
    horizon = retention_horizon(connection)
    if horizon is None or previous_window(connection, window).start >= horizon:
        return
    raise HorizonError(
        f"Users can't be counted for {window} and the period before: raw events before {horizon:%Y-%m-%d} (the "
        "retention horizon) have expired. Ask for whole months, which are counted over the user grain and kept."
    )


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
    row = fetch_row(connection, "SELECT analytics_close_users(%s, %s)", [window.start, window.end])
    return int(row[0])


def _scalar(connection: Connection, query: str, company_id: str | None, window: Window) -> int:
    row = fetch_row(connection, query, [company_id, window.start, window.end])
    return int(row[0])
