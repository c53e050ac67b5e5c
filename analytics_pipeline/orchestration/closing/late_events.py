"""Closes again what late events have touched, whoever wrote them, and what follows older definitions.

TimescaleDB logs every change below what has been refreshed, in the writer's own transaction: inserts,
updates and deletes, by our ingestion, the ERP or psql. That log is the state of this sensor. An entry
leaves it only by the refresh that settles it, so nothing is lost over restarts or failed runs, and nothing
is asked for twice once it is settled. (An ``ingested_at`` watermark would miss deletes, need an index on
every chunk, and trust every writer to fill the column.)
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagster import (
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from analytics_pipeline.asset_names import EVENTS, MONTHLY_REPORT, SUBSCRIPTIONS_ASSET, USERS
from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.companies.time_zones import UTC
from analytics_pipeline.metrics.partitions import ALL_EVENTS, changed_windows, closing_times, late_behind_horizon
from analytics_pipeline.metrics.subscriptions import SUBSCRIPTIONS
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_ASSETS, restated_months, stale_periods
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, REPORT_JOB, assets_of, granularity_of
from analytics_pipeline.orchestration.closing.plan import ClosingPlan, Obstacle
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.sensors import in_words, pipeline_sensor, warn_of_news
from analytics_pipeline.orchestration.shared import AssetJob
from analytics_pipeline.reports.documents import months_of_other_definitions
from analytics_pipeline.reports.figures import trailing_months
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import AGGREGATES
from analytics_pipeline.timescale.clock import ClockError, check_clock
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.invalidation import count_future_events, stale_ranges
from analytics_pipeline.windows import Granularity, Window, common_windows, join_windows, midnight, without_windows

_NAME = "late_events"
_INTERVAL_SECONDS = 30
_NOTHING = "No event has changed in a closed partition."
# TimescaleDB names both ends of a range that has changed; ours are half-open.
_RESOLUTION = timedelta(microseconds=1)
# What stands on the events day by day, or month by month, as these aggregates do.
_ON_EVENTS = {
    granularity: next(a.name for a in AGGREGATES if a.granularity is granularity and a.source == EVENTS)
    for granularity in GRANULARITIES
}
# What figures stand on besides the aggregates: made from the events of each day, and kept; and in which table.
_HISTORIES = {USERS: USERS, SUBSCRIPTIONS_ASSET: SUBSCRIPTIONS}
_STALE_LIKE = {
    **dict.fromkeys(_HISTORIES, _ON_EVENTS[Granularity.DAY]),
    **{asset: _ON_EVENTS[granularity] for asset, (_, granularity) in METRIC_ASSETS.items()},
}


def build_late_sensor(settings: Settings, jobs: Sequence[AssetJob]) -> SensorDefinition:
    """Return the sensor ``late_events``, switched on."""

    @pipeline_sensor(
        _NAME,
        _INTERVAL_SECONDS,
        "Finds closed partitions whose events have changed since, from TimescaleDB's invalidation logs, and metric "
        "partitions under which users, subscriptions or rates have changed, or that follow an older version of the "
        "definitions, and asks for them again: hours, then days, then months, then the reports on them. Those near "
        "each other, hours or days, are one run over what is closed between them. "
        "A new version alone makes no report anew.",
        jobs=jobs,
    )
    def _late_events(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        with timescale.session() as connection:
            try:
                now = check_clock(connection)
            except ClockError as error:
                # A run would be refused like this.
                return SensorResult(skip_reason=SkipReason(str(error)), cursor=context.cursor)
            state = PartitionState(context.instance, connection, settings, now)
            # One turn at the only session of the embedded database, however many statements there are.
            with connection.transaction():
                finder = _Finder(state)
                plan = ClosingPlan(state, _NAME)
                wanted: dict[str, dict[str, list[Window]]] = {}
                for job in CLOSING_JOBS:
                    # The level above waits for this one, whether it is asked for now or is under way already.
                    below = [obstacle for lower in wanted.values() for obstacle in _late_sources(lower)]
                    wanted[job] = finder.late(job)
                    waits_for = [*below, *finder.months_before_their_days(job)]
                    plan.add(job, wanted[job], waits_for, over_closed=True)
                requests = plan.requests()
                notes = [*plan.exhausted, *_describe_behind_horizon(state, finder), *_describe_future(connection)]
        summary = in_words([*notes, *plan.waiting])
        return SensorResult(
            run_requests=requests,
            skip_reason=None if requests else SkipReason(summary or _NOTHING),
            cursor=warn_of_news(context, notes),
        )

    return _late_events


class _Finder:
    """Looks for closed partitions that are stale, job by job, with one reading of log and record."""

    def __init__(self, state: PartitionState) -> None:
        self._state = state
        connection, settings = state.connection, state.settings
        span = Window(midnight(settings.start), Granularity.MONTH.next(Granularity.MONTH.floor(state.now)))
        self._stale: defaultdict[str, list[Window]] = defaultdict(list)
        for stale in stale_ranges(connection, span):
            self._stale[stale.aggregate].append(Window(stale.first, stale.last + _RESOLUTION))
        self._stale_histories = changed_windows(connection)
        platform = platform_calendar(connection, settings)
        self._stale_metrics = stale_periods(connection, platform.currency, platform.time_zone)
        self._is_utc = platform.time_zone == UTC
        self._of_other_definitions = {
            granularity: [
                p.window for p in self._stale_metrics if p.has_other_definitions and p.granularity is granularity
            ]
            for granularity in GRANULARITIES
        }
        self._versions = DefinitionsVersions.read(connection)

    def late(self, job: str) -> dict[str, list[Window]]:
        """Return by asset the stretches of whole partitions that a job has to close again."""
        if job == REPORT_JOB:
            return reports_behind(self._state, self._versions)
        return {asset: self._late_partitions(asset) for asset in assets_of(job)}

    def changed_behind_horizon(self) -> list[Window]:
        """Return the stretches behind the retention horizon that the log names: expired, or changed before."""
        return common_windows(self._stale[ALL_EVENTS], self._state.expired(Granularity.HOUR))

    def months_before_their_days(self, job: str) -> list[Obstacle]:
        """Return the months to be computed by other definitions while days before their end still are to be."""
        days, months = (self._of_other_definitions[granularity] for granularity in (Granularity.DAY, Granularity.MONTH))
        if not days or CLOSING_JOBS[job] is not Granularity.MONTH:
            return []
        first = min(day.start for day in days)
        return [Obstacle("days before", month, "of other definitions") for month in months if first < month.end]

    def _late_partitions(self, asset: str) -> list[Window]:
        """Return the stretches of an asset that are closed and stale, in whole partitions."""
        granularity = granularity_of(asset)
        # What has expired is not stale: there is nothing left to compute it from.
        expired = self._state.expired(granularity)
        stale = join_windows(window.widen(granularity) for window in self._stale[_STALE_LIKE.get(asset, asset)])
        if asset in METRIC_ASSETS and not self._is_utc:
            # Whose dates have changed is known once the hours, days and months of UTC are refreshed.
            stale = []
        if asset in _HISTORIES:
            stale += self._stale_histories.get(_HISTORIES[asset], [])
            # The figures of a day are computed by other definitions from users and subscriptions that are, too.
            stale += self._of_other_definitions[Granularity.DAY]
        touched = without_windows(stale, expired)
        if asset in METRIC_ASSETS:
            # Of these the database has left out what can't be computed any more.
            touched += [p.window for p in self._stale_metrics if (p.metric, p.granularity) == _metric_of(asset)]
        # What was closed before it had ended, by a wrong clock, waits until it has.
        first, end = midnight(self._state.settings.start), granularity.floor(self._state.now)
        return common_windows(touched, self._state.closed(asset, Window(first, end))) if first < end else []


def _late_sources(late: Mapping[str, list[Window]]) -> Iterator[Obstacle]:
    for asset, windows in late.items():
        yield from (Obstacle(asset, window, "changed since it was closed") for window in windows)


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


def reports_behind(state: PartitionState, versions: DefinitionsVersions) -> dict[str, list[Window]]:
    """Return by asset the months whose reports are older than figures they show, of the month or of its trend.

    Figures that only other definitions have changed count as little as the definitions do: a document of an older
    version stays as it is until its data change.
    """
    figures, reports = assets_of("monthly_aggregates"), assets_of(REPORT_JOB)
    times = closing_times(state.connection, [*figures, *reports])
    newest: dict[Window, datetime] = {}
    newest_by_data: dict[Window, datetime] = {}
    for asset in figures:
        for window, closing in times[asset].items():
            newest[window] = max(closing.closed_at, newest.get(window, closing.closed_at))
            if (asset, window) not in versions.restated:
                newest_by_data[window] = max(closing.closed_at, newest_by_data.get(window, closing.closed_at))

    def is_behind(report: str, month: Window, read_at: datetime) -> bool:
        is_older = (report == MONTHLY_REPORT, month) in versions.older_documents
        closed = newest_by_data if is_older else newest
        shown = (Window.of_month(day) for day in trailing_months(month.start.date()))
        return any(earlier in closed and closed[earlier] > read_at for earlier in shown)

    this_month = Granularity.MONTH.floor(state.now)
    return {
        report: [
            month
            for month, closing in sorted(times[report].items())
            if month.end <= this_month and is_behind(report, month, closing.attempted_at)
        ]
        for report in reports
    }


def _metric_of(asset: str) -> tuple[str, Granularity]:
    table, granularity = METRIC_ASSETS[asset]
    return table.metric, granularity


def _describe_behind_horizon(state: PartitionState, finder: _Finder) -> list[str]:
    """Say which events came in for partitions that can't be closed again; that events have expired is no news."""
    changed = finder.changed_behind_horizon()
    if not changed or state.horizon is None:
        return []
    late = late_behind_horizon(state.connection, changed, state.horizon)
    if late is None:
        return []
    return [
        f"{late.count} events from {late.first:%Y-%m-%d %H:%M} to {late.last:%Y-%m-%d %H:%M} UTC came in for closed "
        f"partitions behind the retention horizon ({state.horizon:%Y-%m-%d}), which can't be closed again and "
        "stay as they are"
    ]


def _describe_future(connection: Connection) -> list[str]:
    count = count_future_events(connection)
    if not count:
        return []
    return [
        f"{count} events are dated in the future: they are in no closed partition, and their sender's clock is wrong"
    ]
