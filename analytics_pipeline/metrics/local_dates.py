"""Dates of companies that live in other time zones than UTC: which have ended, and closing those that have.

A partition bears the name of a date and is closed once the date has ended for every company and for the platform. The
rows of a company are closed before that, as soon as its own date has ended.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from analytics_pipeline.errors import RefusedError
from analytics_pipeline.metrics.partitions import ALL_EVENTS, closed_ranges
from analytics_pipeline.metrics.scope import DEFINITIONS_VERSION
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, MetricTable, close_metric
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.refresh import behind_horizon, retention_horizon
from analytics_pipeline.windows import Granularity, Window, midnight, without_windows


@dataclass(frozen=True, slots=True)
class LocalDates:
    """The dates of all time zones in use at an instant.

    ``first_open`` is the first date that has not ended in all of them, ``newest`` the last one that has begun.
    ``ahead`` is how long before the UTC date of the same name a date may begin, ``behind`` how long after it one may
    end, in winter and in summer: both 0 where everybody lives in UTC, and rounded up to whole hours. Hours are closed
    whole, from 18:00 UTC on for a date that begins at 18:15, and a date has ended with the last of its hours.
    """

    first_open: date
    newest: date
    ahead: timedelta
    behind: timedelta

    @property
    def is_utc(self) -> bool:
        """Whether all dates are those of UTC."""
        return not self.ahead and not self.behind

    def ended(self, granularity: Granularity) -> datetime:
        """Return the end of the partitions whose dates have ended in every time zone."""
        return granularity.floor(midnight(self.first_open))


@dataclass(frozen=True, slots=True)
class LocalPeriod:
    """A day or month of a metric table that has ended for some companies and is not closed for them."""

    table: MetricTable
    granularity: Granularity
    partition: Window

    def __str__(self) -> str:
        """Name the asset and the partition."""
        return f"{self.table.asset(self.granularity)} {self.partition.start:%Y-%m-%d}"


def read_local_dates(connection: Connection, time_zone: str, instant: datetime) -> LocalDates:
    """Return the dates of all companies' time zones, and of the platform's ``time_zone``, at an instant (aware)."""
    row = fetch_row(connection, load_query("local_dates"), {"zone": time_zone, "instant": instant})
    return LocalDates(*row)


def require_ended_everywhere(connection: Connection, time_zone: str, what: str, window: Window, first: date) -> None:
    """Raise ``RefusedError`` unless the dates of a window of partitions have ended for every company and the platform.

    Their hours have to be closed, too: what changes in an hour that is not is noted nowhere. ``time_zone`` is the
    platform's, ``what`` names what is closed, ``first`` is the first date that is ever closed.
    """
    dates = read_local_dates(connection, time_zone, database_now(connection))
    if dates.is_utc:
        return
    beyond = Window(max(window.start - dates.ahead, midnight(first)), window.end + dates.behind)
    expired = behind_horizon(Granularity.HOUR, retention_horizon(connection))
    gaps = without_windows([beyond], [*closed_ranges(connection).get(ALL_EVENTS, []), *expired])
    if gaps and dates.first_open > (window.end - timedelta(days=1)).date():
        raise RefusedError(
            f"{what} can't be closed for {window}: dates of other time zones reach into hours that are not closed, "
            f"from {gaps[0].start:%Y-%m-%d %H:%M} UTC on. Close those first, or leave it to the sensor partition_gaps."
        )
    if midnight(dates.first_open) < window.end:
        raise RefusedError(
            f"{what} can't be closed for {window}: {dates.first_open} goes on in the time zone of some company, or of "
            "the platform. It is closed once it has ended for all, and for the others before (the sensor local_dates)."
        )


def open_local_periods(
    connection: Connection, time_zone: str, currency: str, dates: LocalDates, ended_by: datetime
) -> list[LocalPeriod]:
    """Return the days and months that have ended for some companies by an instant, but not for all.

    Those that are closed for them and have seen every change are left out. ``time_zone`` and ``currency`` are the
    platform's; ``ended_by`` is up to when hours are closed.
    """
    if dates.is_utc:
        return []
    parameters = {
        "version": DEFINITIONS_VERSION,
        "zone": time_zone,
        "currency": currency,
        "horizon": retention_horizon(connection),
        "ended_by": ended_by,
    }
    found = []
    for granularity in GRANULARITIES:
        span = Window(dates.ended(granularity), granularity.next(granularity.floor(midnight(dates.newest))))
        for partition in span.split(granularity):
            of_partition = {
                **parameters,
                "granularity": str(granularity),
                "first": partition.start.date(),
                "until": partition.end.date(),
            }
            for table in METRIC_TABLES:
                (is_open,) = fetch_row(
                    connection, load_query("local_period_is_open"), {**of_partition, "metric": table.metric}
                )
                if is_open:
                    found.append(LocalPeriod(table, granularity, partition))
    return found


def close_local_period(
    connection: Connection, period: LocalPeriod, time_zone: str, currency: str, ended_by: datetime
) -> int:
    """Close a day or month for the companies for which it has ended by an instant; return how many rows they have.

    ``time_zone`` and ``currency`` are the platform's; autocommit connection.
    """
    return close_metric(
        connection, period.table, period.granularity, period.partition, currency, time_zone, ended_by=ended_by
    ).rows
