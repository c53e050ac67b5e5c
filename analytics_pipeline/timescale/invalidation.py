"""What has changed under a closed partition, as TimescaleDB itself has logged it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.catalog import require_known_catalog
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.windows import Granularity, Window, join_windows


@dataclass(frozen=True, slots=True)
class StaleRange:
    """A range of an aggregate that has to be refreshed (both ends inclusive, UTC)."""

    aggregate: str
    first: datetime
    last: datetime


def stale_ranges(connection: Connection, window: Window, aggregate: str | None = None) -> list[StaleRange]:
    """Return what has to be refreshed within a window, of one aggregate or of all of them.

    That is every range whose events changed after it was stored, and every range never stored. Raises
    ``AnalyticsError`` on a TimescaleDB whose internal tables this program doesn't know.
    """
    require_known_catalog(connection)
    parameters = {"start": window.start, "end": window.end, "aggregate": aggregate}
    rows = connection.execute(load_query("stale_ranges"), parameters).fetchall()
    return [StaleRange(*row) for row in rows]


def days_of(ranges: Iterable[StaleRange]) -> list[Window]:
    """Return the stretches of whole UTC days that the ranges touch, in order."""
    return join_windows(
        Window(Granularity.DAY.floor(each.first), Granularity.DAY.next(Granularity.DAY.floor(each.last)))
        for each in ranges
    )


def count_future_events(connection: Connection) -> int:
    """Return the number of events dated more than five minutes ahead: written past our ingestion."""
    return int(fetch_row(connection, load_query("count_future_events"))[0])
