"""Closes what a schedule missed: Dagster's schedules run their latest tick only, after any outage."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from dagster import (
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from analytics_pipeline.orchestration.closing import (
    MOST_RUNS_PER_TICK,
    RangeToClose,
    group_ranges,
    open_sources,
    run_request,
    why_given_up,
)
from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.partition_state import PartitionState
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import ClockError, check_clock
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.windows import Cadence, Window, midnight

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_NAME = "partition_gaps"
_INTERVAL_SECONDS = 60
# The schedule has the first chance; the sensor takes what is older than that.
_GRACE = {Cadence.HOUR: timedelta(minutes=10), Cadence.DAY: timedelta(minutes=30), Cadence.MONTH: timedelta(minutes=60)}
# Each tick looks back so far, and once a day at the whole history.
_LOOK_BACK = {Cadence.HOUR: timedelta(days=3), Cadence.DAY: timedelta(days=35), Cadence.MONTH: timedelta(days=400)}
_WHOLE_HISTORY_EVERY = timedelta(days=1)


def build_gaps_sensor(settings: Settings, jobs: "Sequence[UnresolvedAssetJobDefinition]") -> SensorDefinition:
    """Return the sensor ``partition_gaps``, switched on."""

    @sensor(
        name=_NAME,
        jobs=jobs,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Finds partitions that have ended and are not closed, and asks for them as ranges: hours before days "
            "before months before reports. Looks at the recent past each minute and at the whole history once a day."
        ),
    )
    def _partition_gaps(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        cursor = _Cursor.load(context.cursor)
        with timescale.session() as connection:
            try:
                now = check_clock(connection)
            except ClockError as error:
                # A run would be refused like this, and count as an attempt.
                return SensorResult(skip_reason=SkipReason(str(error)), cursor=context.cursor)
            horizon = retention_horizon(connection)
        whole_history = now - cursor.whole_history_at >= _WHOLE_HISTORY_EVERY
        finder = _Finder(PartitionState(context.instance, settings, now), settings, now, horizon)
        found = [gap for job in CLOSING_JOBS for gap in finder.gaps(job, whole_history=whole_history)]
        requested = found[:MOST_RUNS_PER_TICK]
        # What a full look has found and this tick can't take stays for the next full look, at once.
        if whole_history and len(found) == len(requested) and not finder.waiting:
            cursor.whole_history_at = now
        return SensorResult(
            run_requests=[finder.request(gap) for gap in requested],
            skip_reason=None if requested else SkipReason(finder.describe_nothing(whole_history=whole_history)),
            cursor=cursor.dump(),
        )

    return _partition_gaps


class _Cursor:
    """When the whole history was last looked at."""

    def __init__(self, whole_history_at: datetime) -> None:
        self.whole_history_at = whole_history_at

    @classmethod
    def load(cls, text: str | None) -> "_Cursor":
        never = datetime(1970, 1, 1, tzinfo=UTC)
        return cls(datetime.fromisoformat(json.loads(text)["whole_history_at"]) if text else never)

    def dump(self) -> str:
        return json.dumps({"whole_history_at": self.whole_history_at.isoformat()})


class _Finder:
    """Looks for gaps, job by job, with one reading of the instance."""

    def __init__(self, state: PartitionState, settings: Settings, now: datetime, horizon: datetime | None) -> None:
        self._state = state
        self._settings = settings
        self._now = now
        self._horizon = horizon
        self.waiting: list[str] = []
        self.given_up: list[str] = []

    def gaps(self, job: str, *, whole_history: bool) -> Iterator[RangeToClose]:
        """Yield the ranges of a job that can be closed now; note what waits and what was given up."""
        cadence = CLOSING_JOBS[job]
        partitions = self._ended_partitions(cadence, whole_history=whole_history)
        missing = {
            asset: [p for p in partitions if p not in closed and not self._state.is_covered(asset, p)]
            for asset in assets_of(job)
            for closed in [self._state.closed(asset, partitions)]
        }
        for gap in group_ranges(job, missing):
            yield from self._ready(gap)

    def request(self, gap: RangeToClose) -> RunRequest:
        """Return the run for a gap."""
        return run_request(gap, self._settings, self._state, _NAME)

    def describe_nothing(self, *, whole_history: bool) -> str:
        """Say why no run was asked for."""
        looked_at = "the whole history" if whole_history else "the recent past"
        parts = [*self.waiting, *self.given_up]
        if not parts:
            return f"Every partition of {looked_at} that has ended is closed, or a run for it is under way."
        return "; ".join(parts[:5]) + (f"; and {len(parts) - 5} more" if len(parts) > 5 else "")  # noqa: PLR2004

    def _ready(self, gap: RangeToClose) -> Iterator[RangeToClose]:
        given_up = why_given_up(self._state, gap)
        if given_up:
            self.given_up.append(given_up)
            return
        waiting = open_sources(self._state, gap.job, gap.window)
        if not waiting:
            yield gap
            return
        self.waiting.append(f"{gap.job} for {gap.window} waits for {len(waiting)} partitions below it")
        blocked = {p for p in gap.window.split(gap.cadence) if any(p.overlaps(w) for w in waiting)}
        free = [p for p in gap.window.split(gap.cadence) if p not in blocked]
        yield from group_ranges(gap.job, dict.fromkeys(gap.assets, free))

    def _ended_partitions(self, cadence: Cadence, *, whole_history: bool) -> list[Window]:
        first = midnight(self._settings.start)
        if not whole_history:
            first = max(first, cadence.floor(self._now - _LOOK_BACK[cadence]))
        if self._horizon is not None:
            # Behind the horizon nothing can be closed any more.
            first = max(first, cadence.ceil(self._horizon))
        end = cadence.floor(self._now - _GRACE[cadence])
        return list(Window(first, end).split(cadence)) if first < end else []
