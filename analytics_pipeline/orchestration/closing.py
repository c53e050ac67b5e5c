"""What has to be closed, in which order, and the runs that do it.

Schedules and sensors share these rules: a day waits for its hours, a month for its days, a report for its months, and
figures for the aggregates, users and subscriptions of their own period. Partitions beside each other become one range
run. What has to wait, or was tried often enough, is taken out of its range and named: it holds back nothing else.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

from dagster import AssetKey, RunRequest, RunsFilter
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from analytics_pipeline.health.finding import close_command
from analytics_pipeline.metrics.partitions import FailedRange, last_attempt
from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.orchestration.assets.metrics import metric_sources
from analytics_pipeline.orchestration.covering_runs import FAILED
from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of, proofs_of
from analytics_pipeline.orchestration.names import REASON_TAG
from analytics_pipeline.orchestration.partition_state import PartitionState
from analytics_pipeline.orchestration.partitions import PARTITIONS_PER_RUN, partitions_for
from analytics_pipeline.orchestration.run_links import describe_run
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.refresh import behind_horizon
from analytics_pipeline.windows import Cadence, Window, common_windows, join_windows, without_windows

# What a sensor asks for, in words that change when something has happened to it: runs that failed are counted by it.
REQUEST_TAG = "analytics/request"

# What a sensor asks for in one tick at most; the rest comes with the next one.
MAX_RUNS_PER_TICK = 10
# A range whose runs failed so often waits for a person: another attempt would fail like them.
MAX_ATTEMPTS = 3

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


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What other partitions have to wait for: a stretch of an asset, and what it is about."""

    asset: str
    window: Window
    reason: str

    def __str__(self) -> str:
        """Name the asset, the stretch and what it is about."""
        return f"{self.asset} for {self.window} ({self.reason})"


class ClosingPlan:
    """What can be closed now of what is wanted, job by job from the hours on, and what the rest waits for.

    ``waiting`` says for each stretch what it waits for, ``exhausted`` what is left to a person.
    """

    def __init__(self, state: PartitionState, reason: str) -> None:
        """Plan by one reading of the state; ``reason`` names who asks."""
        self._state = state
        self._reason = reason
        self._ready: list[RangeToClose] = []
        # In order, and each once: several assets wait for the same.
        self.waiting: dict[str, None] = {}
        self.exhausted: list[str] = []

    def add(self, job: str, wanted: Mapping[str, Iterable[Window]], obstacles: Iterable[Obstacle] = ()) -> None:
        """Plan what is wanted of a job's assets, stretches of whole partitions, with what more it has to wait for."""
        free: dict[str, list[Window]] = {}
        obstacles = list(obstacles)
        for asset in assets_of(job):
            if windows := join_windows(wanted.get(asset, ())):
                windows = self._leave_exhausted(asset, windows)
                waits_for = [*obstacles, *self._obstacles(job, asset, windows, free)]
                free[asset] = self._leave_waiting(job, windows, waits_for)
        self._ready += group_ranges(job, free)

    def requests(self) -> list[RunRequest]:
        """Return the runs to ask for, a bounded number of them, the first jobs first."""
        requests: list[RunRequest] = []
        with self._state.connection.transaction():
            for ready in self._ready:
                if len(requests) == MAX_RUNS_PER_TICK:
                    break
                if request := self._request(ready):
                    requests.append(request)
        return requests

    def _leave_exhausted(self, asset: str, windows: list[Window]) -> list[Window]:
        exhausted = [failed for failed in self._state.failed(asset) if failed.attempts >= MAX_ATTEMPTS]
        for failed in exhausted:
            for stretch in common_windows(windows, [failed.window]):
                self.exhausted.append(describe_exhausted(self._state.settings, replace(failed, window=stretch)))
        return without_windows(windows, [failed.window for failed in exhausted])

    def _obstacles(
        self, job: str, asset: str, windows: list[Window], free: Mapping[str, list[Window]]
    ) -> Iterator[Obstacle]:
        if not windows:
            return
        span = Window(windows[0].start, windows[-1].end)
        yield from _under_way(self._state, asset, span)
        yield from open_sources(self._state, job, span)
        for source in _sources_within(job, asset):
            yield from _under_way(self._state, source, span)
            # What the same run closes before needs no waiting for.
            missing = without_windows(self._state.open(source, span), free.get(source, []))
            yield from _describe_open(self._state, source, missing)

    def _leave_waiting(self, job: str, windows: list[Window], obstacles: list[Obstacle]) -> list[Window]:
        cadence = CLOSING_JOBS[job]
        blocked_by = [(obstacle.window.widen(cadence), obstacle) for obstacle in obstacles]
        for window, obstacle in blocked_by:
            for stretch in common_windows(windows, [window]):
                self.waiting[f"{job} for {stretch} waits for {obstacle}"] = None
        return without_windows(windows, [window for window, _ in blocked_by])

    def _request(self, ready: RangeToClose) -> RunRequest | None:
        """Return the run that closes a range, None if its runs have failed often enough.

        Dagster never launches a second run of the same key, failed ones included. So the key names the last attempt
        at the range: while nothing has run since, asking again is harmless, and afterwards it is another key. Runs
        that failed before they had begun an attempt, on their way to the database say, are counted besides.
        """
        state = self._state
        attempted_at = last_attempt(state.connection, ready.assets, ready.window)
        since = "nothing" if attempted_at is None else attempted_at.isoformat()
        tags = _range_tags(ready, state)
        base = f"{self._reason}:{ready.job}:{'+'.join(ready.assets)}:{'...'.join(tags.values())}:after {since}"
        runs = state.instance.get_runs(RunsFilter(tags={REQUEST_TAG: base}, statuses=FAILED), limit=MAX_ATTEMPTS)
        attempts = [f for asset in ready.assets for f in state.failed(asset) if f.window.overlaps(ready.window)]
        if len(runs) + max((failed.attempts for failed in attempts), default=0) >= MAX_ATTEMPTS and runs:
            failed = FailedRange(", ".join(ready.assets), ready.window, MAX_ATTEMPTS, runs[0].run_id, state.now, None)
            self.exhausted.append(describe_exhausted(self._state.settings, failed))
            return None
        return RunRequest(
            run_key=f"{base}, attempt {len(runs) + 1}",
            job_name=ready.job,
            asset_selection=[AssetKey(name) for name in ready.assets],
            # Without them it would run every check of its assets, with a row for each partition.
            asset_check_keys=proofs_of(ready.assets),
            tags={**tags, REASON_TAG: self._reason, REQUEST_TAG: base},
        )


def open_sources(state: PartitionState, job: str, window: Window) -> list[Obstacle]:
    """Return the stretches of the level below, within the window, that keep the job's window waiting.

    Behind the retention horizon nothing can be closed any more, and nothing is waited for.
    """
    below = _WAITS_FOR.get(job)
    if below is None:
        return []
    found: list[Obstacle] = []
    for span in without_windows([window], behind_horizon(CLOSING_JOBS[below], state.horizon)):
        for asset in assets_of(below):
            under_way = _under_way(state, asset, span)
            found += under_way
            missing = without_windows(state.open(asset, span), [obstacle.window for obstacle in under_way])
            found += _describe_open(state, asset, missing)
    return sorted(found, key=lambda obstacle: (obstacle.window, obstacle.asset))


def describe_exhausted(settings: Settings, failed: FailedRange) -> str:
    """Say that a stretch is left to a person, with its last run and what to do."""
    return (
        f"{failed.asset} for {failed.window} failed {failed.attempts} times, last in "
        f"{describe_run(settings, failed.run_id)}"
        f"{f': {failed.failure}' if failed.failure else ''}; fix the cause, then {close_command(failed.window)}"
    )


def group_ranges(job: str, wanted: Mapping[str, Iterable[Window]]) -> list[RangeToClose]:
    """Cut the stretches of a job's assets into bounded runs, each over the assets that share its window."""
    windows = {asset: join_windows(stretches) for asset, stretches in wanted.items()}
    bounds = sorted({bound for stretches in windows.values() for w in stretches for bound in (w.start, w.end)})
    assets_at: defaultdict[Window, list[str]] = defaultdict(list)
    pieces = [Window(start, end) for start, end in pairwise(bounds)]
    for asset, stretches in sorted(windows.items()):
        for piece in _covered(pieces, stretches):
            assets_at[piece].append(asset)
    ranges: list[RangeToClose] = []
    for window, assets in sorted(assets_at.items()):
        last = ranges[-1] if ranges else None
        if last is not None and last.window.end == window.start and last.assets == tuple(assets):
            ranges[-1] = replace(last, window=Window(last.window.start, window.end))
        else:
            ranges.append(RangeToClose(job, tuple(assets), window))
    return [replace(r, window=window) for r in ranges for window in _runs_of(r.window, r.cadence)]


def _covered(pieces: list[Window], stretches: list[Window]) -> Iterator[Window]:
    """Yield the pieces that lie within a stretch; both are in order, and no piece reaches over a stretch's end."""
    rest = iter(stretches)
    stretch = next(rest, None)
    for piece in pieces:
        while stretch is not None and stretch.end <= piece.start:
            stretch = next(rest, None)
        if stretch is None:
            return
        if stretch.start <= piece.start:
            yield piece


def _runs_of(window: Window, cadence: Cadence) -> Iterator[Window]:
    start = window.start
    while start < window.end:
        end = start
        for _ in range(PARTITIONS_PER_RUN[cadence]):
            end = cadence.next(end)
            if end >= window.end:
                break
        yield Window(start, end)
        start = end


def _range_tags(ready: RangeToClose, state: PartitionState) -> dict[str, str]:
    key_format = partitions_for(ready.cadence, state.settings).fmt
    *_, last = ready.window.split(ready.cadence)
    return {
        ASSET_PARTITION_RANGE_START_TAG: f"{ready.window.start:{key_format}}",
        ASSET_PARTITION_RANGE_END_TAG: f"{last.start:{key_format}}",
    }


@cache
def _sources_within(job: str, asset: str) -> list[str]:
    """Return the assets of the same job that one of its figures is computed from."""
    sources = metric_sources(*METRIC_ASSETS[asset]) if asset in METRIC_ASSETS else []
    return [source for source in sources if source in assets_of(job)]


def _under_way(state: PartitionState, asset: str, span: Window) -> list[Obstacle]:
    return [
        Obstacle(asset, run.window, f"{describe_run(state.settings, run.run_id)} is under way")
        for run in state.runs_over(asset, span)
    ]


def _describe_open(state: PartitionState, asset: str, stretches: list[Window]) -> Iterator[Obstacle]:
    """Yield stretches that are not closed with why: those that have failed with their last run."""
    for failed in state.failed(asset):
        times = f"failed {failed.attempts} times, last in {describe_run(state.settings, failed.run_id)}"
        yield from (Obstacle(asset, stretch, times) for stretch in common_windows(stretches, [failed.window]))
    never = without_windows(stretches, [failed.window for failed in state.failed(asset)])
    yield from (Obstacle(asset, stretch, "not closed") for stretch in never)
