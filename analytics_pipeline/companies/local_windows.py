"""Dates of a time zone as instants: asked of the database, whose data of zones are the ones that figures are cut by."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import LocalWindow, Window

Dates = tuple[date, date]
"""A first and a last date, both inclusive."""


def local_windows(connection: Connection, periods: Sequence[Dates], time_zone: str) -> list[Window]:
    """Return the windows of whole days of a time zone (IANA), in the order of their dates, in one statement.

    Raises ``ValueError`` for one whose dates the zone skipped altogether.
    """
    if time_zone == UTC:
        return [Window.of_dates(first, last) for first, last in periods]
    parameters = {
        "firsts": [first for first, _ in periods],
        "ends": [last + timedelta(days=1) for _, last in periods],
        "zone": time_zone,
    }
    rows = connection.execute(load_query("local_windows"), parameters).fetchall()
    return [LocalWindow(start, end, time_zone, dates) for (start, end), dates in zip(rows, periods, strict=True)]


def local_window(connection: Connection, first: date, last: date, time_zone: str) -> Window:
    """Return the window of whole days of a time zone from one date to another, both inclusive."""
    return local_windows(connection, [(first, last)], time_zone)[0]


def month_dates(day: date) -> Dates:
    """Return the first and the last date of the calendar month that holds a day."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)


def local_months(connection: Connection, months: Sequence[date], time_zone: str) -> list[Window]:
    """Return the calendar months of a time zone that hold these days, in their order."""
    return local_windows(connection, [month_dates(month) for month in months], time_zone)


def local_date(connection: Connection, instant: datetime, time_zone: str) -> date:
    """Return the date of an instant (with any offset) in a time zone (IANA)."""
    if time_zone == UTC:
        return instant.astimezone(ZoneInfo(UTC)).date()
    day: date = fetch_row(connection, "SELECT analytics_local_date(%s, %s)", [instant, time_zone])[0]
    return day
