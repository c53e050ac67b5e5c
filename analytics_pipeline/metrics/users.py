"""User figures: thin typed calls of ``sql/functions/users.sql``, and the tables of users they stand on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from psycopg import sql

from analytics_pipeline.asset_names import USERS
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.metrics.periods import CompanyWindow, period_parameters, previous_window
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import HorizonError, retention_horizon
from analytics_pipeline.windows import Granularity, Window, require_aligned

USER_COLUMNS: Mapping[str, Column] = {
    "company_id": Column("text", "The tenant."),
    "user_id": Column("text", "The user within the company."),
    "first_seen": Column("timestamptz", "Time of the user's first event of any kind, UTC."),
}
# What users, their deletions and their returns come to on each day, kept by triggers.
USER_DAYS = "analytics_user_days"


@dataclass(frozen=True, slots=True)
class UserMetrics:
    """The user answer's figures of a period; rates are unrounded per cents, None without a base."""

    total_users: int
    active_users: int
    new_users: int
    churned_users: int
    users_at_start: int
    active_before: int
    churn_rate: Decimal | None
    active_user_rate: Decimal | None
    churn_rate_of_start: Decimal | None


class UserFigures(NamedTuple):
    """The user figures of a period, and whether nobody was ever seen before its end."""

    metrics: UserMetrics
    is_empty: bool


def user_figures(connection: Connection, periods: Sequence[CompanyWindow]) -> list[UserFigures]:
    """Return the user figures of many periods at once, in their order.

    Which of them stand on events that have expired is to be asked beforehand (``require_raw_users``).
    """
    rows = connection.execute(load_query("users_of_periods"), period_parameters(periods))
    return [UserFigures(UserMetrics(*figures), is_empty) for *figures, is_empty in rows]


def user_metrics(connection: Connection, company_id: str | None, window: Window) -> UserMetrics:
    """Return the user figures of any window; ``None`` means all companies.

    Raises ``HorizonError`` when raw events it needs have expired.
    """
    require_raw_users(connection, window)
    (figures,) = user_figures(connection, [(company_id, window)])
    return figures.metrics


def require_raw_users(connection: Connection, window: Window) -> None:
    """Raise ``HorizonError`` if the window's active users, or those of the period before, can't be counted any more.

    Whole months are counted over the user grain, which is kept, if they were closed before their events expired.
    """
    horizon, is_kept = _horizon(connection, window)
    if not is_kept:
        in_zone = "" if window.time_zone == UTC else f" of UTC (not of {window.time_zone})"
        raise HorizonError(
            f"Users can't be counted for {window} and the period before: raw events before {horizon:%Y-%m-%d} (the "
            f"retention horizon) have expired. Ask for whole months{in_zone}, which are counted over the user grain "
            "and kept once they are closed."
        )


def are_users_kept(connection: Connection, window: Window) -> bool:
    """Return whether the window's active users, and those of the period before, can be counted."""
    return _horizon(connection, window)[1]


def _horizon(connection: Connection, window: Window) -> tuple[datetime | None, bool]:
    before = previous_window(connection, window)
    query = (
        "SELECT analytics_events_from(), analytics_activity_is_kept(%(before)s, %(start)s, %(zone)s) "
        "AND analytics_activity_is_kept(%(start)s, %(end)s, %(zone)s)"
    )
    parameters = {"before": before.start, "start": window.start, "end": window.end, "zone": window.time_zone}
    horizon, is_kept = fetch_row(connection, query, parameters)
    return horizon, is_kept


def active_users(connection: Connection, company_id: str | None, window: Window) -> int | None:
    """Return the distinct users with an event of their own in the window; ``None`` means all companies.

    None where raw events it needs have expired.
    """
    count: int | None
    (count,) = _answer(connection, ["active_users"], company_id, window)
    return count


def update_users(connection: Connection, window: Window) -> int:
    """Settle users and their deletions by the events of a half-open window and return how many rows changed.

    Repeating it, in any order of windows, ends in the same tables, and an event that was removed counts as never
    recorded; what is known only from behind the retention horizon stays. Raises ``AnalyticsError`` for a window that is
    not made of whole days.
    """
    require_aligned(USERS, Granularity.DAY, window)
    # It remembers the horizon it finds, behind which nothing is taken back.
    retention_horizon(connection)
    row = fetch_row(connection, "SELECT analytics_close_users(%s, %s)", [window.start, window.end])
    return int(row[0])


def _answer(connection: Connection, columns: Sequence[str], company_id: str | None, window: Window) -> tuple[Any, ...]:
    query = sql.SQL(
        "SELECT {} FROM analytics_user_answers(ARRAY[ROW(%s::text, %s, %s, NULL, %s)::analytics_figure_period])"
    ).format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    return fetch_row(connection, query, [company_id, window.start, window.end, window.time_zone])
