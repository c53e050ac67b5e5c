"""What has to be closed, in which order, and the runs that do it.

Schedules and sensors share these rules: a day waits for its hours, a month for its days, a report for
its months, and partitions beside each other become one range run.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dagster import AssetKey, RunRequest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.partition_state import PartitionState
from analytics_pipeline.orchestration.partitions import PARTITIONS_PER_RUN, partitions_for
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Cadence, Window

REASON_TAG = "analytics/closed_because"

# What a sensor asks for in one tick at most; the rest comes with the next one.
MOST_RUNS_PER_TICK = 10
# A range whose runs failed so often waits for a person: another attempt would fail like them.
_MOST_ATTEMPTS = 3

# The job whose partitions must be closed before those of the next.
_WAITS_FOR = {
    "daily_aggregates": "hourly_aggregates",
    "monthly_aggregates": "daily_aggregates",
    "monthly_reports": "monthly_aggregates",
}


@dataclass(frozen=True, slots=True)
class RangeToClose:
    """Partitions beside each other that one run closes, for some assets of a job."""

    job: str
    assets: tuple[str, ...]
    window: Window

    @property
    def cadence(self) -> Cadence:
        """The width of its partitions."""
        return CLOSING_JOBS[self.job]


def open_sources(state: PartitionState, job: str, window: Window) -> list[Window]:
    """Return the partitions of the level below, within the window, that keep the job's window waiting."""
    below = _WAITS_FOR.get(job)
    if below is None:
        return []
    partitions = list(window.split(CLOSING_JOBS[below]))
    waiting: set[Window] = set()
    for asset in assets_of(below):
        closed = state.closed(asset, partitions)
        waiting |= {p for p in partitions if p not in closed or state.is_covered(asset, p)}
    return sorted(waiting)


def why_given_up(state: PartitionState, to_close: RangeToClose) -> str | None:
    """Return why a range is left to a person, or None as long as another attempt makes sense."""
    if max(state.failed_attempts(asset, to_close.window) for asset in to_close.assets) < _MOST_ATTEMPTS:
        return None
    return (
        f"{to_close.job} failed {_MOST_ATTEMPTS} times for {to_close.window}: mend the cause and materialise it by hand"
    )


def group_ranges(job: str, missing: Mapping[str, Iterable[Window]]) -> list[RangeToClose]:
    """Merge neighbouring partitions of each asset, and assets with the same range, into bounded runs."""
    assets_by_window: defaultdict[Window, list[str]] = defaultdict(list)
    for asset, partitions in missing.items():
        for window in _merge(partitions, PARTITIONS_PER_RUN[CLOSING_JOBS[job]]):
            assets_by_window[window].append(asset)
    return [RangeToClose(job, tuple(sorted(assets)), window) for window, assets in sorted(assets_by_window.items())]


def run_request(to_close: RangeToClose, settings: Settings, state: PartitionState, reason: str) -> RunRequest:
    """Return the run that closes a range.

    Dagster never launches a second run of the same key, failed ones included. So the key names what happened to
    the range last: while nothing has run since, asking again is harmless, and afterwards it is another key.
    """
    key_format = partitions_for(to_close.cadence, settings).fmt
    *_, last = to_close.window.split(to_close.cadence)
    first_key, last_key = f"{to_close.window.start:{key_format}}", f"{last.start:{key_format}}"
    names, latest = "+".join(to_close.assets), state.latest_change(to_close.assets, to_close.window)
    return RunRequest(
        run_key=f"{reason}:{to_close.job}:{names}:{first_key}...{last_key}:after {latest}",
        job_name=to_close.job,
        asset_selection=[AssetKey(name) for name in to_close.assets],
        tags={
            ASSET_PARTITION_RANGE_START_TAG: first_key,
            ASSET_PARTITION_RANGE_END_TAG: last_key,
            REASON_TAG: reason,
        },
    )


def _merge(partitions: Iterable[Window], most: int) -> list[Window]:
    merged: list[Window] = []
    count = 0
    for window in sorted(partitions):
        if merged and merged[-1].end == window.start and count < most:
            merged[-1] = Window(merged[-1].start, window.end)
            count += 1
        else:
            merged.append(window)
            count = 1
    return merged
