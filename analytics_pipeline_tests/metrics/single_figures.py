"""What tests ask for one period, or for each month of a window."""

from collections.abc import Sequence

from analytics_pipeline.metrics.revenue import MrrMovements, mrr_figures
from analytics_pipeline.metrics.users import UserMetrics, user_figures
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Granularity, Window


def mrr_movements(connection: Connection, company_id: str | None, window: Window, currency: str) -> MrrMovements:
    """Return what moved MRR in a window."""
    (figures,) = mrr_figures(connection, [(company_id, window)], currency)
    return figures.movements


def users_by_month(connection: Connection, window: Window) -> Sequence[UserMetrics]:
    """Return the users of each month of a window, over all companies, whatever has expired of it."""
    months = [(None, month) for month in window.split(Granularity.MONTH)]
    return [figures.metrics for figures in user_figures(connection, months)]


def active_and_new(connection: Connection, window: Window) -> list[tuple[int | None, int | None]]:
    """Return the active and the new users of each month of a window, over all companies."""
    return [(month.active_users, month.new_users) for month in users_by_month(connection, window)]


def new_users(connection: Connection, company_id: str | None, window: Window) -> int | None:
    """Return the users first seen in a window."""
    (figures,) = user_figures(connection, [(company_id, window)])
    return figures.metrics.new_users
