"""Periods of answers: from calendar dates to windows, what a window is compared with, and many of them at once."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Window

# Outside of these nothing can have happened, and dates before and after a period are still dates.
_FIRST_YEAR, _LAST_YEAR = 1970, 2199

# A company, None: all of them together, and a window.
CompanyWindow = tuple[str | None, Window]


def _calendar_date(value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    # Pydantic would take numbers, too, as seconds.
    if isinstance(value, str) and len(value) == len("2025-01-31"):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise ValueError("must be a calendar date like 2025-01-31")


CalendarDate = Annotated[
    date,
    BeforeValidator(_calendar_date),
    WithJsonSchema({"type": "string", "format": "date", "example": "2025-01-31"}),
]
"""A day in a model of what is asked for: a date, or its text in ISO form."""


def window_of_dates(start: date | None, end: date | None, today: date) -> Window:
    """Return the whole UTC days from ``start`` to ``end``, both inclusive; without dates the month of ``today``.

    Raises ``AnalyticsError`` for one date without the other, for an end before the start, and for years that no
    event is of.
    """
    if start is None and end is None:
        return Window.of_month(today)
    if start is None or end is None:
        raise ArgumentError("Give both --start and --end, or neither for the current month.")
    if end < start:
        raise ArgumentError(f"The last day {end} is before the first day {start}: give them the other way round.")
    if start.year < _FIRST_YEAR or end.year > _LAST_YEAR:
        raise ArgumentError(f"Days are of the years {_FIRST_YEAR} to {_LAST_YEAR}, not {start} to {end}.")
    return Window.of_dates(start, end)


def previous_window(connection: Connection, window: Window) -> Window:
    """Return the period a window is compared with: whole months with as many months, else the same length before."""
    (start,) = fetch_row(connection, "SELECT analytics_previous_start(%s, %s)", [window.start, window.end])
    return Window(start, window.start)


def period_parameters(periods: Sequence[CompanyWindow]) -> dict[str, object]:
    """Return the parameters of a query that answers for many periods at once, in their order."""
    return {
        "companies": [company for company, _ in periods],
        "starts": [window.start for _, window in periods],
        "ends": [window.end for _, window in periods],
        "zones": [window.time_zone for _, window in periods],
    }
