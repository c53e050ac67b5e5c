"""What has to be closed, in which order, and the runs that do it.

Schedules and sensors share these rules: a day waits for its hours, a month for its days, a report for its months, and
figures for the aggregates, users and subscriptions of their own period. Partitions near each other become one range run
(``closing_ranges``). What has to wait, or was tried often enough, is taken out of its range and named: it holds back
nothing else.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from dagster import RunRequest, RunsFilter

from analytics_pipeline.health.check_result import close_command
from analytics_pipeline.metrics.partitions import FailedRange, last_attempt
from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.orchestration.closing.covering_runs import FAILED
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of, metric_sources, proofs_of
from analytics_pipeline.orchestration.closing.ranges import RangeToClose, cut_range, group_ranges, join_ranges
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.partition_definitions import range_tags
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.settings import Settings
from analytics_pipeline.windows import Granularity, Window, common_windows, join_windows, midnight, without_windows

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
        self._waiting: dict[tuple[str, Window, Obstacle], None] = {}
        self.exhausted: list[str] = []

    def add(
        self,
        job: str,
        wanted: Mapping[str, Iterable[Window]],
        obstacles: Iterable[Obstacle] = (),
        *,
        over_closed: bool = False,
    ) -> None:
        """Plan what is wanted of a job's assets, stretches of whole partitions, with what more it has to wait for.

        ``over_closed``: so that few runs do it all, they may close again what lies between and is closed already.
        """
        left = {asset: self._leave_exhausted(asset, join_windows(wanted.get(asset, ()))) for asset in assets_of(job)}
        stretches = join_windows(window for windows in left.values() for window in windows)
        if not stretches:
            return
        span, granularity = Window(stretches[0].start, stretches[-1].end), CLOSING_JOBS[job]
        # Of thousands, each is widened to the partitions that wait for it only once.
        of_all = _widened([*obstacles, *open_sources(self._state, job, span)], granularity)
        all_waiting = join_windows(window for window, _ in of_all)
        free: dict[str, list[Window]] = {}
        closable: dict[str, list[Window]] = {}
        for asset, windows in left.items():
            if not windows:
                continue
            of_asset = _widened(self._obstacles(job, asset, span, free), granularity)
            waiting = join_windows([*all_waiting, *(window for window, _ in of_asset)])
            self._note_waiting(job, windows, [*of_all, *of_asset])
            free[asset] = without_windows(windows, waiting)
            if over_closed:
                expired = self._state.expired(granularity)
                between = without_windows(self._state.closed(asset, span), [*waiting, *expired])
                closable[asset] = join_windows([*free[asset], *between])
        ranges = group_ranges(job, free)
        if over_closed:
            ranges = join_ranges(ranges, closable, at_most=MAX_RUNS_PER_TICK)
        self._ready += [part for whole in ranges for part in cut_range(whole, self._attempts(whole))]

    @property
    def waiting(self) -> list[str]:
        """What waits for what, a sentence for each stretch."""
        return [f"{job} for {stretch} waits for {obstacle}" for job, stretch, obstacle in self._waiting]

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

    def _obstacles(self, job: str, asset: str, span: Window, free: Mapping[str, list[Window]]) -> Iterator[Obstacle]:
        yield from _under_way(self._state, asset, span)
        if asset in METRIC_ASSETS:
            yield from _open_hours_beyond(self._state, span)
        for source in _sources_within(job, asset):
            yield from _under_way(self._state, source, span)
            # What the same run closes before needs no waiting for.
            missing = without_windows(self._state.open(source, span), free.get(source, []))
            yield from _describe_open(self._state, source, missing)

    def _attempts(self, ready: RangeToClose) -> int:
        """Return how often what is to be closed has failed."""
        attempts = (f for asset in ready.assets for f in self._state.failed(asset) if f.window.overlaps(ready.window))
        return max((failed.attempts for failed in attempts), default=0)

    def _note_waiting(self, job: str, windows: list[Window], obstacles: list[tuple[Window, Obstacle]]) -> None:
        """Note which stretches of windows, which are in order, wait for what."""
        starts, ends = [window.start for window in windows], [window.end for window in windows]
        for blocked, obstacle in obstacles:
            for window in windows[bisect_right(ends, blocked.start) : bisect_left(starts, blocked.end)]:
                stretch = Window(max(window.start, blocked.start), min(window.end, blocked.end))
                self._waiting[job, stretch, obstacle] = None

    def _request(self, ready: RangeToClose) -> RunRequest | None:
        """Return the run that closes a range, None if its runs have failed often enough.

        Dagster never launches a second run of the same key, failed ones included. So the key names the last attempt
        at the range: while nothing has run since, asking again is harmless, and afterwards it is another key. Runs
        that failed before they had begun an attempt, on their way to the database say, are counted besides.
        """
        state = self._state
        attempted_at = last_attempt(state.connection, ready.assets, ready.window)
        since = "nothing" if attempted_at is None else attempted_at.isoformat()
        of_range = range_tags(ready.window, ready.granularity, state.settings)
        base = f"{self._reason}:{ready.job}:{'+'.join(ready.assets)}:{'...'.join(of_range.values())}:after {since}"
        runs = state.instance.get_runs(RunsFilter(tags={REQUEST_TAG: base}, statuses=FAILED), limit=MAX_ATTEMPTS)
        if runs and len(runs) + self._attempts(ready) >= MAX_ATTEMPTS:
            failed = FailedRange(", ".join(ready.assets), ready.window, MAX_ATTEMPTS, runs[0].run_id, state.now, None)
            self.exhausted.append(describe_exhausted(self._state.settings, failed))
            return None
        return RunRequest(
            run_key=f"{base}, attempt {len(runs) + 1}",
            job_name=ready.job,
            asset_selection=[asset_key(name, state.settings) for name in ready.assets],
            # Without them it would run every check of its assets, with a row for each partition.
            asset_check_keys=proofs_of(ready.assets, state.settings),
            tags={**of_range, tags.REASON: self._reason, REQUEST_TAG: base},
        )


def _widened(obstacles: Iterable[Obstacle], granularity: Granularity) -> list[tuple[Window, Obstacle]]:
    """Return obstacles, each with the partitions of a granularity that wait for it."""
    return [(obstacle.window.widen(granularity), obstacle) for obstacle in obstacles]


def open_sources(state: PartitionState, job: str, window: Window) -> list[Obstacle]:
    """Return the stretches of the level below, within the window, that keep the job's window waiting.

    Behind the retention horizon nothing can be closed any more, and nothing is waited for.
    """
    below = _WAITS_FOR.get(job)
    if below is None:
        return []
    found: list[Obstacle] = []
    for span in without_windows([window], state.expired(CLOSING_JOBS[below])):
        for asset in assets_of(below):
            under_way = _under_way(state, asset, span)
            found += under_way
            missing = without_windows(state.open(asset, span), [obstacle.window for obstacle in under_way])
            found += _describe_open(state, asset, missing)
    return sorted(found, key=lambda obstacle: (obstacle.window, obstacle.asset))


def _open_hours_beyond(state: PartitionState, span: Window) -> Iterator[Obstacle]:
    """Yield open hours that dates of other time zones than UTC reach into, over the partitions that wait for them."""
    dates = state.local_dates
    if dates.is_utc:
        return
    beyond = Window(max(span.start - dates.ahead, midnight(state.settings.start)), span.end + dates.behind)
    expired = state.expired(Granularity.HOUR)
    for asset in assets_of("hourly_aggregates"):
        for gap in without_windows(state.open(asset, beyond), expired):
            yield Obstacle(
                asset, Window(gap.start - dates.behind, gap.end + dates.ahead), "hours of local dates are open"
            )


def describe_exhausted(settings: Settings, failed: FailedRange) -> str:
    """Say that a stretch is left to a person, with its last run and what to do."""
    return (
        f"{failed.asset} for {failed.window} failed {failed.attempts} times, last in "
        f"{describe_run(settings, failed.run_id)}"
        f"{f': {failed.failure}' if failed.failure else ''}; fix the cause, then {close_command(failed.window)}"
    )


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
