"""Closes a date for the companies for which it has ended, while it goes on for others.

A partition of the metric tables is closed when its date has ended for everybody. Where companies live in several time
zones that is a day and more after it has ended for the first of them, whose rows are closed at once, by this job. Where
everybody lives in UTC there is nothing for it to do.
"""

from datetime import datetime, timedelta

from dagster import (
    DagsterRunStatus,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    job,
    op,
)

from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.metrics.local_dates import LocalPeriod, close_local_period, open_local_periods
from analytics_pipeline.orchestration import shared
from analytics_pipeline.orchestration.closing.jobs import assets_of
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.orchestration.sensors import LatestRun, in_words, pipeline_sensor
from analytics_pipeline.timescale.clock import ClockError, check_clock
from analytics_pipeline.windows import Granularity, Window, midnight, without_windows

LOCAL_JOB = "local_dates"
_INTERVAL_SECONDS = 60
_NOTHING = "No date has ended for some companies and not for all, or those are closed for them."
# After a run that has failed; one that waits or works is waited for.
_PAUSE = timedelta(minutes=10)


def build_local_job() -> JobDefinition:
    """Return the job ``local_dates``."""

    @op(
        name="close_local_dates",
        description="Closes the days and months of the metric tables that have ended for some companies, for these.",
        pool=shared.POOL,
        retry_policy=shared.RETRY,
        out=Out(Nothing),
    )
    def _close_local_dates(context: OpExecutionContext, timescale: Timescale) -> Output[None]:
        with timescale.session() as connection:
            state = PartitionState(context.instance, connection, timescale.settings, check_clock(connection))
            platform = platform_calendar(connection, timescale.settings)
            ended_by, periods = open_periods(state)
            rows = 0
            for period in periods:
                rows += close_local_period(connection, period, platform.time_zone, platform.currency, ended_by)
        context.log.info(in_words(map(str, periods)) or _NOTHING)
        return Output(None, metadata={"periods": len(periods), "rows": rows})

    @job(
        name=LOCAL_JOB,
        executor_def=owning_executor,
        description=(
            "Closes days and months of the metric tables for the companies for which they have ended, before the "
            "partition of that date is closed for all; the sensor local_dates starts it."
        ),
    )
    def _local_dates() -> None:
        _close_local_dates()

    return _local_dates


def build_local_sensor() -> SensorDefinition:
    """Return the sensor ``local_dates``, switched on."""

    @pipeline_sensor(
        LOCAL_JOB,
        _INTERVAL_SECONDS,
        "Finds days and months that have ended in the time zone of some companies and not in that of all, and whose "
        "hours are closed, and has them closed for these companies. Those that have changed since are closed again.",
        job=LOCAL_JOB,
    )
    def _local_dates(context: SensorEvaluationContext, timescale: Timescale) -> RunRequest | SkipReason:
        latest = LatestRun.of(context.instance, LOCAL_JOB)
        if latest.is_unfinished() or _has_just_failed(latest):
            return SkipReason("A run is under way, or has just failed.")
        with timescale.session() as connection:
            try:
                now = check_clock(connection)
            except ClockError as error:
                # The run would be refused like this.
                return SkipReason(str(error))
            state = PartitionState(context.instance, connection, timescale.settings, now)
            ended_by, periods = open_periods(state)
        if not periods:
            return SkipReason(_NOTHING)
        return latest.request_next(f"{in_words(map(str, periods))} as of {ended_by:%Y-%m-%dT%H:%MZ}")

    return _local_dates


def open_periods(state: PartitionState) -> tuple[datetime, list[LocalPeriod]]:
    """Return up to when all hours are closed, and what has ended by then for some companies and is open for them."""
    dates = state.local_dates
    if dates.is_utc:
        return state.now, []
    first = min(dates.ended(granularity) for granularity in (Granularity.DAY, Granularity.MONTH)) - dates.ahead
    span = Window(max(first, midnight(state.settings.start)), Granularity.HOUR.floor(state.now))
    expired = state.expired(Granularity.HOUR)
    gaps = [
        gap for asset in assets_of("hourly_aggregates") for gap in without_windows(state.open(asset, span), expired)
    ]
    ended_by = min([gap.start for gap in gaps], default=span.end)
    platform = platform_calendar(state.connection, state.settings)
    return ended_by, open_local_periods(state.connection, platform.time_zone, platform.currency, dates, ended_by)


def _has_just_failed(latest: LatestRun) -> bool:
    age = latest.age
    return (
        latest.record is not None
        and latest.record.dagster_run.status is DagsterRunStatus.FAILURE
        and age is not None
        and age < _PAUSE
    )
