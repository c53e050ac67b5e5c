"""Subscriptions over time: the table of ``sql/functions/subscriptions.sql``, kept beside the events."""

from collections.abc import Mapping

from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import require_within_horizon
from analytics_pipeline.windows import Granularity, Window, require_aligned

SUBSCRIPTIONS = "analytics_subscriptions"
SUBSCRIPTION_COLUMNS: Mapping[str, Column] = {
    "company_id": Column("text", "The tenant."),
    "subscription_id": Column("text", "The subscription within the company."),
    "valid_from": Column("timestamptz", "From when it was so (event time, UTC)."),
    "valid_to": Column("timestamptz", "Up to when, exclusive; null: to this day."),
    "user_id": Column("text", "Whose it is: the user its events named last."),
    "status": Column("text", "active, trialing, past_due, paused or ended."),
    "price": Column("numeric", "Net price per unit and interval, in the currency."),
    "currency": Column("text", "ISO 4217 code or crypto ticker."),
    "interval": Column("text", "day, week, month or year."),
    "interval_count": Column("integer", "How many of them one price is for."),
    "quantity": Column("bigint", "Units."),
    "monthly_amount": Column("numeric", "Monthly recurring amount, to 40 places; zero unless active or past_due."),
    "was_paid": Column("boolean", "Whether the monthly amount was above zero, for that user, then or before."),
    "event_type": Column("text", "Type of the event that made it so."),
    "event_id": Column("uuid", "That event."),
    "event_user_id": Column("text", "The user that event, or one before it at that instant, names."),
    "decided_by_id": Column("boolean", "Whether of several changes at that instant only the id decided which counts."),
    "otherwise": Column("jsonb", "The change that counts if the subscription ran before and did not, or the reverse."),
}


def update_subscriptions(connection: Connection, window: Window) -> int:
    """Bring ``analytics_subscriptions`` up to date with the events of a window and return the rows it changed.

    The rows of the window are those its events give now: repeating it, in any order of windows, ends in the same
    table. Raises ``AnalyticsError`` for a window that is not made of whole days, ``HorizonError`` for one whose raw
    events have expired: its rows are all there is of them.
    """
    require_aligned(SUBSCRIPTIONS, Granularity.DAY, window)
    require_within_horizon(connection, SUBSCRIPTIONS, Granularity.DAY, window)
    row = fetch_row(connection, "SELECT analytics_close_subscriptions(%s, %s)", [window.start, window.end])
    return int(row[0])
