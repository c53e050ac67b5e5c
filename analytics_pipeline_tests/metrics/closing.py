"""Closes days and months as Dagster's jobs do: aggregates, then users and subscriptions, then the figures."""

from datetime import date

from analytics_pipeline.metrics.subscriptions import update_subscriptions
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, close_metric
from analytics_pipeline.metrics.users import update_users
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import refresh
from analytics_pipeline.windows import Granularity, Window


def days(start: str, end_inclusive: str | None = None) -> Window:
    """Return whole UTC days, both dates inclusive."""
    return Window.of_dates(date.fromisoformat(start), date.fromisoformat(end_inclusive or start))


def close_inputs(connection: Connection, window: Window) -> None:
    """Close what the figures of a window stand on; months only where it is made of them."""
    for granularity in Granularity:
        for aggregate in AGGREGATES:
            if aggregate.granularity is granularity and window.is_aligned(granularity):
                refresh(connection, aggregate, window)
    update_users(connection, window)
    update_subscriptions(connection, window)


def close_figures(connection: Connection, window: Window, currency: str = "EUR") -> None:
    """Compute the metric tables of a window; months only where it is made of them."""
    for granularity in GRANULARITIES:
        if window.is_aligned(granularity):
            for table in METRIC_TABLES:
                close_metric(connection, table, granularity, window, currency)


def close(connection: Connection, window: Window, currency: str = "EUR") -> None:
    """Close every day of a window, and every month if it is made of months."""
    close_inputs(connection, window)
    close_figures(connection, window, currency)
