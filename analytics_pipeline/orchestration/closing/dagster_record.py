"""What Dagster's own record says of partitions: which were materialised, and what failed runs have left of that.

It was all there was before ``analytics_partitions``, and is taken over from here once. In it a partition is closed when
it was materialised and no run over it has failed since. That a run failed has to be read from the runs themselves:
with ranges bundled into one planned event (the setting that makes a year of hours cost seconds) Dagster doesn't mark
the partitions of a failed range, and a failed blocking check comes after the materialisation it judges. Whether it was
settled is in the event log: what a later run materialised stands behind the end of the failed one.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from dagster import AssetRecordsFilter, DagsterEventType, DagsterInstance

from analytics_pipeline.metrics.partitions import AdoptedPartition, FailedRange, adopt_partitions, adopted_assets
from analytics_pipeline.orchestration.closing.covering_runs import FAILED, UNFINISHED, CoveringRun, covering_runs
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of, granularity_of
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.partition_definitions import partitions_for
from analytics_pipeline.orchestration.runs.paged_records import failure_events, materialization_times, materializations
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection, fetch_row
from analytics_pipeline.timescale.expiry import restored_windows
from analytics_pipeline.timescale.refresh import behind_horizon, retention_horizon
from analytics_pipeline.windows import Window, join_windows, midnight, without_windows


def adopt_once(instance: DagsterInstance, connection: Connection, settings: Settings) -> int:
    """Take over into ``analytics_partitions`` what Dagster alone knew to be closed or failed, once for each asset.

    Returns how many partitions were closed. What was materialised before this database was made is in another one,
    from which events were moved: it is not closed here. Failed runs are taken over of the time before the table alone:
    it notes them itself, and what it doesn't know was refused. Whatever is behind the retention horizon counts as
    closed if it was ever materialised: it can't be closed again, and a run over it that failed was refused.
    """
    assets = {asset for job in CLOSING_JOBS for asset in assets_of(job)} - adopted_assets(connection)
    if not assets:
        return 0
    record = DagsterRecord(instance, settings)
    horizon, restored = retention_horizon(connection), restored_windows(connection)
    (made_at,) = fetch_row(connection, "SELECT min(applied_at) FROM analytics_schema_migrations")
    adopted = 0
    for asset in sorted(assets):
        granularity = granularity_of(asset)
        latest = record.materialized(asset)
        # What is behind the horizon can't be closed again: a run over it that failed was refused.
        expired = behind_horizon(granularity, horizon, restored)
        left = [
            _failed_range(asset, replace(run, window=window))
            for run in _before_the_table(connection, record.left_by_failures(asset))
            if run.created >= made_at
            for window in without_windows([run.window], expired)
        ]
        times = materialization_times(instance, asset_key(asset, settings)) if latest else {}
        closed = [
            partition
            for partition in _closed(latest, join_windows(failed.window for failed in left), times)
            if partition.closed_at >= made_at
        ]
        adopted += adopt_partitions(connection, asset, granularity, closed, left)
    return adopted


class DagsterRecord:
    """What the instance has recorded of partitions; runs are read once, materialisations as they are asked for."""

    def __init__(self, instance: DagsterInstance, settings: Settings) -> None:
        """Read the runs that have failed, and from where on nothing of them stands in the event log."""
        self._instance = instance
        self._settings = settings
        runs = covering_runs(instance, settings, [*FAILED, *UNFINISHED])
        self._failures = [run for run in runs if run.has_failed]
        # What ended the failed runs; of a killed one it is looked up when it is asked for.
        self._ends: dict[str, int | None] = {**failure_events(instance)} if self._failures else {}

    def materialized(self, asset: str, partitions: Iterable[Window] | None = None) -> dict[Window, int]:
        """Return which of the asset's partitions (None: of all) were ever materialised, with the id of the latest."""
        granularity = granularity_of(asset)
        key_format = partitions_for(granularity, self._settings).fmt
        wanted = None if partitions is None else {f"{window.start:{key_format}}" for window in partitions}
        latest: Mapping[str, int] = self._instance.event_log_storage.get_latest_storage_id_by_partition(
            asset_key(asset, self._settings), DagsterEventType.ASSET_MATERIALIZATION, partitions=wanted
        )
        windows = windows_of_keys(asset, latest, self._settings)
        return {window: latest[key] for key, window in windows.items()}

    def left_by_failures(self, asset: str) -> list[CoveringRun]:
        """Return the failed runs over the asset, each once for every stretch of partitions that it left.

        Those are the partitions that nothing has materialised since it ended.
        """
        return list(self._find_left(asset))

    def _find_left(self, asset: str) -> Iterator[CoveringRun]:
        # Of several failures over a partition it is the newest that tells whether it was settled.
        failed = _newest_failures([run for run in self._failures if asset in run.assets])
        granularity, first = granularity_of(asset), midnight(self._settings.start)
        partitions = {p for window, _ in failed for p in window.split(granularity) if p.start >= first}
        latest = self.materialized(asset, partitions) if partitions else {}
        for window, run in failed:
            end = self._end(run, asset)
            left = (p for p in window.split(granularity) if p in partitions and latest.get(p, 0) <= end)
            for stretch in join_windows(left):
                yield replace(run, window=stretch)

    def _end(self, run: CoveringRun, asset: str) -> int:
        """Return the position in the event log behind which nothing of a failed run stands."""
        if run.run_id not in self._ends:
            self._ends[run.run_id] = self._last_event(run.run_id)
        end = self._ends[run.run_id]
        if end is not None:
            return end
        # Its events were deleted: it may have been the last to materialise what there was when it ended.
        before = AssetRecordsFilter(asset_key(asset, self._settings), before_timestamp=run.ended_at)
        newest = next(materializations(self._instance, before), None)
        return newest.storage_id if newest is not None else 0

    def _last_event(self, run_id: str) -> int | None:
        """Return the position of the last event of a run, None if its events were deleted."""
        found = self._instance.get_records_for_run(run_id, limit=1, ascending=False).records
        return found[0].storage_id if found else None


def windows_of_keys(asset: str, keys: Iterable[str], settings: Settings) -> dict[str, Window]:
    """Return the windows of partitions that Dagster has recorded, without those that there are not any more."""
    granularity, first = granularity_of(asset), midnight(settings.start)
    key_format = f"{partitions_for(granularity, settings).fmt} %z"
    found: dict[str, Window] = {}
    for key in keys:
        with suppress(ValueError):
            start = datetime.strptime(f"{key} +0000", key_format).astimezone(UTC)
            if granularity.floor(start) == start >= first:
                found[key] = Window(start, granularity.next(start))
    return found


def _before_the_table(connection: Connection, runs: list[CoveringRun]) -> list[CoveringRun]:
    """Return the runs of the time before ``analytics_partitions`` was there."""
    if not runs:
        return []
    (since,) = fetch_row(connection, "SELECT applied_at FROM analytics_schema_migrations WHERE version = 26")
    return [run for run in runs if run.created < since]


def _failed_range(asset: str, run: CoveringRun) -> FailedRange:
    """Return what a failed run has left of an asset, as one attempt at it if it was one."""
    why = "its run had failed or was dead before analytics_partitions was kept"
    return FailedRange(asset, run.window, int(run.is_attempt), run.run_id, run.created, why)


def _closed(
    latest: Mapping[Window, int], left: list[Window], times: Mapping[int, tuple[datetime, str]]
) -> Iterator[AdoptedPartition]:
    stretches = iter(left)
    stretch = next(stretches, None)
    for window in sorted(latest):
        while stretch is not None and stretch.end <= window.start:
            stretch = next(stretches, None)
        if (stretch is None or not stretch.overlaps(window)) and latest[window] in times:
            yield AdoptedPartition(window, *times[latest[window]])


def _newest_failures(runs: list[CoveringRun]) -> list[tuple[Window, CoveringRun]]:
    """Return what failed runs covered, newest failure first, nothing twice."""
    found: list[tuple[Window, CoveringRun]] = []
    settled: list[Window] = []
    for run in sorted(runs, key=lambda r: r.created, reverse=True):
        found += [(window, run) for window in without_windows([run.window], settled)]
        settled.append(run.window)
    return found
