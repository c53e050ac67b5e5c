"""Periods of answers: from calendar dates to windows, and what a window is compared with."""

from datetime import UTC, date, datetime

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window


def window_of_dates(start: date | None, end: date | None) -> Window:
    """Return the whole UTC days from ``start`` to ``end``, both inclusive; without dates the current month.

    Raises ``AnalyticsError`` for one date without the other, and for an end before the start.
    """
    if start is None and end is None:
        return Window.of_month(datetime.now(UTC).date())
    if start is None or end is None:
        raise AnalyticsError("Give both --start and --end, or neither for the current month.")
    if end < start:
        raise AnalyticsError(f"--end {end:%Y-%m-%d} is before --start {start:%Y-%m-%d}.")
    return Window.of_dates(start, end)


def previous_window(connection: Connection, window: Window) -> Window:
    """Return the period a window is compared with: whole months with as many months, else the same length before."""
    (start,) = fetch_row(connection, "SELECT analytics_previous_start(%s, %s)", [window.start, window.end])
    return Window(start, window.start)
