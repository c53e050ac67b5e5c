"""Which partitions are closed, by the database, and which runs are under way, by Dagster.

The table ``analytics_partitions`` says what is closed and what attempts have failed (``metrics.partitions``). That an
attempt is still being made, or waits for its turn, is known from Dagster's unfinished runs alone.
"""

from datetime import datetime
from functools import cached_property

from dagster import DagsterInstance

from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.metrics.local_dates import LocalDates, read_local_dates
from analytics_pipeline.metrics.partitions import FailedRange, closed_ranges, failed_ranges
from analytics_pipeline.orchestration.closing.covering_runs import UNFINISHED, CoveringRun, covering_runs
from analytics_pipeline.orchestration.closing.dagster_record import adopt_once
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.expiry import restored_windows
from analytics_pipeline.timescale.refresh import behind_horizon, retention_horizon
from analytics_pipeline.windows import Granularity, Window, common_windows, without_windows


class PartitionState:
    """What is known of partitions, read once for the length of a tick."""

    def __init__(self, instance: DagsterInstance, connection: Connection, settings: Settings, now: datetime) -> None:
        """Read what is closed, what has failed, and the unfinished runs; autocommit connection.

        What Dagster alone knew to be closed is taken over first, once. ``now`` is when that is: by the database's
        clock where it decides what has ended.
        """
        adopt_once(instance, connection, settings)
        self.now = now
        self.instance = instance
        self.connection = connection
        self.settings = settings
        self._local_dates: dict[datetime, LocalDates] = {}
        # Runs first: what they close meanwhile is then closed, or under way, and never open.
        runs = covering_runs(instance, settings, UNFINISHED)
        self._unfinished = [run for run in runs if run.is_unfinished]
        # The embedded database has one session: each statement outside of a transaction waits for its turn anew.
        with connection.transaction():
            self.horizon = retention_horizon(connection)
            self._restored = restored_windows(connection)
            self._closed = closed_ranges(connection)
            self._failed = failed_ranges(connection)

    def expired(self, granularity: Granularity) -> list[Window]:
        """Return the stretches whose partitions of a granularity can't be closed any more, in order."""
        return behind_horizon(granularity, self.horizon, self._restored)

    @cached_property
    def local_dates(self) -> LocalDates:
        """The dates of the companies and the platform now."""
        return self.local_dates_at(self.now)

    def local_dates_at(self, instant: datetime) -> LocalDates:
        """Return the dates of the companies and the platform at an instant."""
        if instant not in self._local_dates:
            platform = platform_calendar(self.connection, self.settings)
            self._local_dates[instant] = read_local_dates(self.connection, platform.time_zone, instant)
        return self._local_dates[instant]

    def closed(self, asset: str, span: Window) -> list[Window]:
        """Return the stretches of a span that are closed, in order."""
        return common_windows([span], self._closed.get(asset, []))

    def open(self, asset: str, span: Window) -> list[Window]:
        """Return the stretches of a span that are not closed, in order: never begun, failed, or under way."""
        return without_windows([span], self._closed.get(asset, []))

    def is_closed(self, asset: str, window: Window) -> bool:
        """Return whether all of a window is closed."""
        return not self.open(asset, window)

    def attempts(self, asset: str) -> list[FailedRange]:
        """Return the stretches of an asset that its last attempt has not closed: it has failed, or is under way."""
        return self._failed.get(asset, [])

    def failed(self, asset: str) -> list[FailedRange]:
        """Return the stretches of an asset whose last attempt has failed, in order, without what is under way."""
        return [
            failed
            for failed in self.attempts(asset)
            if not any(run.run_id == failed.run_id for run in self._unfinished)
        ]

    def runs_over(self, asset: str, span: Window) -> list[CoveringRun]:
        """Return the unfinished runs that are going to cover a part of the span."""
        return [run for run in self._unfinished if asset in run.assets and run.window.overlaps(span)]
