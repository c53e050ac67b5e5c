"""Closes what a schedule missed and what has failed: after an outage Dagster's schedules run their latest tick only."""

from collections.abc import Sequence
from datetime import timedelta

from dagster import (
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from analytics_pipeline.metrics.partitions import mark_final
from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.closing.plan import ClosingPlan
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.sensors import in_words, pipeline_sensor, warn_of_news
from analytics_pipeline.orchestration.shared import AssetJob
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import ClockError, check_clock
from analytics_pipeline.windows import Granularity, Window, midnight, without_windows

_NAME = "partition_gaps"
_INTERVAL_SECONDS = 60
# The schedule has the first chance; the sensor takes what is older than that.
_GRACE = {
    Granularity.HOUR: timedelta(minutes=10),
    Granularity.DAY: timedelta(minutes=30),
    Granularity.MONTH: timedelta(minutes=60),
}
_NOTHING = "Every partition that has ended is closed, or a run for it is under way."


def build_gaps_sensor(settings: Settings, jobs: Sequence[AssetJob]) -> SensorDefinition:
    """Return the sensor ``partition_gaps``, switched on."""

    @pipeline_sensor(
        _NAME,
        _INTERVAL_SECONDS,
        "Finds partitions that have ended and are not closed, missed or failed, each minute in the whole history, "
        "and asks for them as ranges: hours before days before months before reports. What has failed three times "
        "is left to a person.",
        jobs=jobs,
    )
    def _partition_gaps(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        with timescale.session() as connection:
            try:
                now = check_clock(connection)
            except ClockError as error:
                # A run would be refused like this.
                return SensorResult(skip_reason=SkipReason(str(error)), cursor=context.cursor)
            state = PartitionState(context.instance, connection, settings, now)
            mark_final(connection, state.horizon)
            plan = ClosingPlan(state, _NAME)
            for job, granularity in CLOSING_JOBS.items():
                spans = {asset: _ended_spans(state, granularity, asset) for asset in assets_of(job)}
                plan.add(
                    job,
                    {
                        asset: [w for span in of_asset for w in state.open(asset, span)]
                        for asset, of_asset in spans.items()
                    },
                )
            requests = plan.requests()
        summary = in_words([*plan.exhausted, *plan.waiting])
        return SensorResult(
            run_requests=requests,
            skip_reason=None if requests else SkipReason(summary or _NOTHING),
            cursor=warn_of_news(context, plan.exhausted),
        )

    return _partition_gaps


def _ended_spans(state: PartitionState, granularity: Granularity, asset: str) -> list[Window]:
    """Return the time of an asset's partitions that have ended and can be closed: nothing behind the retention horizon.

    The dates of the metric tables have ended when they have for every company and for the platform.
    """
    ended_by = state.now - _GRACE[granularity]
    first, end = midnight(state.settings.start), granularity.floor(ended_by)
    if asset in METRIC_ASSETS and not state.local_dates.is_utc:
        end = min(end, state.local_dates_at(ended_by).ended(granularity))
    return without_windows([Window(first, end)], state.expired(granularity)) if first < end else []
