"""Periods of answers: from calendar dates to windows, what a window is compared with, and many of them at once."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from analytics_pipeline.companies.local_windows import local_date, local_window
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.errors import ArgumentError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, LocalWindow, Window

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


def window_asked(connection: Connection, start: date | None, end: date | None, time_zone: str, now: datetime) -> Window:
    """Return the whole days of a time zone (IANA) from ``start`` to ``end``, both inclusive; without dates the month.

    That is the one in which ``now`` is there. Raises as ``window_of_dates`` does, and for dates that the zone skipped.
    """
    today = date.min
    if start is None and end is None:
        today = local_date(connection, now, time_zone)
    window = window_of_dates(start, end, today)
    if time_zone == UTC:
        return window
    try:
        return local_window(connection, window.first_day, window.last_day, time_zone)
    except ValueError:
        raise ArgumentError(
            f"There was no {window.first_day} in {time_zone}, which skipped it: choose another day."
        ) from None


def split_window(connection: Connection, window: Window, granularity: Granularity) -> list[Window]:
    """Return the hours, days or months of a window that is made of them, in order, as its time zone counts them.

    A date that the zone skipped is none; hours are counted from the start of their date.
    """
    if window.time_zone == UTC:
        return list(window.split(granularity))
    parameters = {
        "granularity": str(granularity),
        "first": window.first_day,
        "until": window.last_day + timedelta(days=1),
        "zone": window.time_zone,
    }
    rows = connection.execute(load_query("local_periods"), parameters).fetchall()
    return [LocalWindow(start, end, window.time_zone, (first, last)) for start, end, first, last in rows]


def usual_granularity(window: Window) -> Granularity:
    """Return in what a window is shown that is made of days: in months where it is made of these, too."""
    return Granularity.MONTH if window.is_aligned(Granularity.MONTH) else Granularity.DAY


def previous_window(connection: Connection, window: Window) -> Window:
    """Return the period a window is compared with: whole months with as many months, else the same length before."""
    (start, first_day) = fetch_row(
        connection,
        "SELECT p, analytics_local_date(p, %(zone)s) FROM analytics_previous_start(%(start)s, %(end)s, %(zone)s) AS p",
        {"start": window.start, "end": window.end, "zone": window.time_zone},
    )
    if window.time_zone == UTC:
        return Window(start, window.start)
    return LocalWindow(start, window.start, window.time_zone, (first_day, window.first_day - timedelta(days=1)))


def period_parameters(periods: Sequence[CompanyWindow]) -> dict[str, object]:
    """Return the parameters of a query that answers for many periods at once, in their order."""
    return {
        "companies": [company for company, _ in periods],
        "starts": [window.start for _, window in periods],
        "ends": [window.end for _, window in periods],
        "zones": [window.time_zone for _, window in periods],
    }
