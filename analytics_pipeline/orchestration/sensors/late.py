"""Closes again what late events have touched, whoever wrote them, and what follows older definitions.

TimescaleDB logs every change below what has been refreshed, in the writer's own transaction: inserts,
updates and deletes, by our ingestion, the ERP or psql. That log is the state of this sensor. An entry
leaves it only by the refresh that settles it, so nothing is lost over restarts or failed runs, and nothing
is asked for twice once it is settled. (An ``ingested_at`` watermark would miss deletes, need an index on
every chunk, and trust every writer to fill the column.)
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
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

from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS_ASSET
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, StalePeriod, restated_months, stale_periods
from analytics_pipeline.metrics.users import USERS
from analytics_pipeline.orchestration.closing import (
    MOST_RUNS_PER_TICK,
    RangeToClose,
    group_ranges,
    open_sources,
    run_request,
    why_given_up,
)
from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, REPORT_JOB, assets_of
from analytics_pipeline.orchestration.partition_state import PartitionState
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.reports.documents import MONTHLY_REPORT, months_of_other_definitions
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES, EVENTS
from analytics_pipeline.timescale.clock import ClockError, check_clock
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import StaleRange, count_future_events, stale_ranges
from analytics_pipeline.timescale.refresh import retention_horizon
from analytics_pipeline.windows import Cadence, Window, midnight

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

_NAME = "late_events"
_INTERVAL_SECONDS = 30
_MAX_SHOWN = 5
_NOTHING = "No event has changed in a closed partition."
_CADENCES = {aggregate.name: aggregate.cadence for aggregate in AGGREGATES}
_METRICS = {table.asset(cadence): (table, cadence) for table in METRIC_TABLES for cadence in GRANULARITIES}
# What stands on the events day by day, or month by month, as these aggregates do.
_ON_EVENTS = {
    cadence: next(a.name for a in AGGREGATES if a.cadence is cadence and a.source == EVENTS)
    for cadence in GRANULARITIES
}
# What figures stand on besides the aggregates: made from the events of each day, and kept.
_HISTORIES = (USERS, SUBSCRIPTIONS_ASSET)
_STALE_LIKE = {
    **dict.fromkeys(_HISTORIES, _ON_EVENTS[Cadence.DAY]),
    **{asset: _ON_EVENTS[cadence] for asset, (_, cadence) in _METRICS.items()},
}


def build_late_sensor(settings: Settings, jobs: "Sequence[UnresolvedAssetJobDefinition]") -> SensorDefinition:
    """Return the sensor ``late_events``, switched on."""

    @sensor(
        name=_NAME,
        jobs=jobs,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Finds closed partitions whose events have changed since, from TimescaleDB's invalidation logs, and metric "
            "partitions under which users, subscriptions or rates have changed, or that follow an older version of the "
            "definitions, and asks for exactly those again: hours, then days, then months, then the reports on them. "
            "A new version alone makes no report anew."
        ),
    )
    def _late_events(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        with timescale.session() as connection:
            try:
                now = check_clock(connection)
            except ClockError as error:
                # A run would be refused like this, and count as an attempt.
                return SensorResult(skip_reason=SkipReason(str(error)))
            span = Window(midnight(settings.start), Cadence.MONTH.next(Cadence.MONTH.floor(now)))
            stale = stale_ranges(connection, span)
            horizon = retention_horizon(connection)
            stale_metrics = stale_periods(connection, settings.base_currency)
            versions = DefinitionsVersions.read(connection)
            future = count_future_events(connection)
        state = PartitionState(context.instance, settings, now)
        finder = _Finder(state, settings, horizon, stale, stale_metrics, versions)
        found = [late for job in CLOSING_JOBS for late in finder.late(job)]
        for note in [*finder.notes, *_describe_future(future)]:
            context.log.warning(note)
        requested = [finder.request(late) for late in found[:MOST_RUNS_PER_TICK]]
        return SensorResult(
            run_requests=requested,
            skip_reason=None if requested else SkipReason(finder.describe_nothing(_describe_future(future))),
        )

    return _late_events


class _Finder:
    """Looks for closed partitions that are stale, job by job, with one reading of log and instance."""

    def __init__(
        self,
        state: PartitionState,
        settings: Settings,
        horizon: datetime | None,
        stale: list[StaleRange],
        stale_metrics: list[StalePeriod],
        versions: "DefinitionsVersions",
    ) -> None:
        self._state = state
        self._settings = settings
        self._horizon = horizon
        self._stale: defaultdict[str, list[StaleRange]] = defaultdict(list)
        for found in stale:
            self._stale[found.aggregate].append(found)
        self._stale_metrics = stale_metrics
        self._of_other_definitions = {
            cadence: {p.window for p in stale_metrics if p.has_other_definitions and p.cadence is cadence}
            for cadence in GRANULARITIES
        }
        self._versions = versions
        self._unsettled: list[RangeToClose] = []
        self.notes: list[str] = []

    def late(self, job: str) -> list[RangeToClose]:
        """Return the ranges of a job to close again now, and note what can't be."""
        late = (
            reports_behind(self._state, self._settings, self._versions)
            if job == REPORT_JOB
            else {a: self._late_partitions(a) for a in assets_of(job)}
        )
        ready = []
        for found in group_ranges(job, late):
            # The level above waits for this one, whether it is asked for now or is under way already.
            waits = any(below.window.overlaps(found.window) for below in self._unsettled if below.job != job)
            waits = waits or self._waits_for_days(found)
            if waits or self._is_covered(found) or open_sources(self._state, job, found.window):
                self._unsettled.append(found)
            elif given_up := why_given_up(self._state, found):
                self.notes.append(given_up)
            else:
                ready.append(found)
        self._unsettled.extend(ready)
        return ready

    def request(self, late: RangeToClose) -> RunRequest:
        """Return the run for a range."""
        return run_request(late, self._settings, self._state, _NAME)

    def describe_nothing(self, future: list[str]) -> str:
        """Say why no run was asked for."""
        waiting = [
            f"{late.job} for {late.window} waits for what it is built on, or for a run under way"
            for late in self._unsettled
        ]
        more = [f"and {len(waiting) - _MAX_SHOWN} more"] if len(waiting) > _MAX_SHOWN else []
        return "; ".join([*waiting[:_MAX_SHOWN], *more, *self.notes, *future]) or _NOTHING

    def _late_partitions(self, asset: str) -> list[Window]:
        """Return the partitions of an asset that were closed once and are stale."""
        aggregate = _STALE_LIKE.get(asset, asset)
        cadence = _CADENCES[aggregate]
        touched: set[Window] = set()
        for stale in self._stale[aggregate]:
            window = Window(cadence.floor(stale.first), cadence.next(cadence.floor(stale.last)))
            touched.update(window.split(cadence))
        behind = {w for w in touched if self._horizon is not None and w.start < self._horizon}
        if asset in _HISTORIES:
            # The figures of a day are computed by other definitions from users and subscriptions that are, too.
            touched |= self._of_other_definitions[Cadence.DAY]
        if asset in _METRICS:
            changed = {p.window for p in self._stale_metrics if (p.metric, p.cadence) == _metric_of(asset)}
            touched |= changed
            # Of these the database has left out what can't be computed any more.
            behind -= changed
        closed = self._state.materialized(asset, touched) if touched else {}
        lost = sorted(behind & closed.keys())
        if lost:
            self.notes.append(
                f"{asset}: what {len(lost)} closed partitions behind the retention horizon ({self._horizon:%Y-%m-%d}) "
                f"stand on has changed, from {lost[0]} on; they can't be recomputed and stay as they are"
            )
        # What was closed before it had ended, by a wrong clock, waits until it has.
        return [window for window in closed if window not in behind and window.end <= self._state.now]

    def _waits_for_days(self, found: RangeToClose) -> bool:
        """Tell whether months are to be computed by other definitions while days before their end still are to be."""
        outdated = self._of_other_definitions
        return (
            found.cadence is Cadence.MONTH
            and any(month.overlaps(found.window) for month in outdated[Cadence.MONTH])
            and any(day.start < found.window.end for day in outdated[Cadence.DAY])
        )

    def _is_covered(self, late: RangeToClose) -> bool:
        return any(self._state.is_covered(asset, late.window) for asset in late.assets)


@dataclass(frozen=True, slots=True)
class DefinitionsVersions:
    """What a new version of the definitions has left or changed.

    ``restated``: the closed months, by asset, that it alone has changed since. ``older_documents``: the months whose
    documents follow another one, with whether that is the document over all companies.
    """

    restated: Collection[tuple[str, Window]] = frozenset()
    older_documents: Collection[tuple[bool, Window]] = frozenset()

    @classmethod
    def read(cls, connection: Connection) -> "DefinitionsVersions":
        """Read both from the database."""
        return cls(restated_months(connection), months_of_other_definitions(connection))


def reports_behind(
    state: PartitionState, settings: Settings, versions: "DefinitionsVersions"
) -> dict[str, list[Window]]:
    """Return by asset the months whose reports are older than figures they show, of the month or of its trend.

    Figures that only other definitions have changed count as little as the definitions do: a document of an older
    version stays as it is until its data change.
    """
    this_month = Cadence.MONTH.floor(state.now)
    if midnight(settings.start) >= this_month:
        return {}
    months = list(Window(midnight(settings.start), this_month).split(Cadence.MONTH))
    newest: defaultdict[Window, int] = defaultdict(int)
    newest_by_data: defaultdict[Window, int] = defaultdict(int)
    for asset in assets_of("monthly_aggregates"):
        for window, storage_id in state.closed(asset, months).items():
            newest[window] = max(newest[window], storage_id)
            if (asset, window) not in versions.restated:
                newest_by_data[window] = max(newest_by_data[window], storage_id)
    shown = {month: [Window.of_month(day) for day in trailing_months(month.start.date())] for month in months}

    def is_behind(report: str, month: Window, storage_id: int) -> bool:
        is_older = (report == MONTHLY_REPORT, month) in versions.older_documents
        closed = newest_by_data if is_older else newest
        return any(closed[earlier] > storage_id for earlier in shown[month])

    return {
        report: [
            month for month, storage_id in state.closed(report, months).items() if is_behind(report, month, storage_id)
        ]
        for report in assets_of(REPORT_JOB)
    }


def _metric_of(asset: str) -> tuple[str, Cadence]:
    table, cadence = _METRICS[asset]
    return table.metric, cadence


def _describe_future(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{count} events are dated in the future: they are in no closed partition, and their sender's clock is wrong"
    ]
