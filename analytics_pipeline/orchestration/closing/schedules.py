"""The jobs that close partitions, one per granularity, each with the schedule that closes what has just ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from analytics_pipeline.metrics.tables import METRIC_ASSETS
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of, proofs_of, selection_of
from analytics_pipeline.orchestration.closing.plan import open_sources
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.partition_definitions import partitions_for
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.sensors import in_words
from analytics_pipeline.orchestration.shared import AssetJob, pipeline_job
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import ClockError, check_clock
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class _ClosingJob:
    """What a job does, and when it runs (UTC): some minutes after its partition ends, for events on their way."""

    description: str
    cron: str
    in_words: str


_JOBS = {
    "hourly_aggregates": _ClosingJob(
        "Closes the hourly partitions of every aggregate and reconciles them with the events.",
        "5 * * * *",
        "five minutes after each hour",
    ),
    "daily_aggregates": _ClosingJob(
        "Closes the daily partitions of every aggregate, of users, subscriptions and metrics.",
        "20 0 * * *",
        "at 00:20 UTC each day",
    ),
    "monthly_aggregates": _ClosingJob(
        "Closes the monthly partitions of every aggregate and of the metrics.",
        "40 0 1 * *",
        "at 00:40 UTC on the first of each month",
    ),
    "monthly_reports": _ClosingJob(
        "Renders and stores the monthly PDF reports, of all companies and of each, from closed months.",
        "0 1 1 * *",
        "at 01:00 UTC on the first of each month",
    ),
}


def build_closing_jobs(settings: Settings) -> list[AssetJob]:
    """Return the jobs, each over the assets of one granularity, which run the proof of their window alone.

    Dagster keeps a row for each check and partition of a run: what speaks of an asset as a whole is judged elsewhere.
    """
    return [pipeline_job(name, selection_of(name, settings), job.description) for name, job in _JOBS.items()]


def build_closing_schedules(settings: Settings) -> list[ScheduleDefinition]:
    """Return one schedule per closing job, under the job's name and switched on."""
    return [_build_schedule(name, job, settings) for name, job in _JOBS.items()]


def _build_schedule(job: str, timing: _ClosingJob, settings: Settings) -> ScheduleDefinition:
    granularity = CLOSING_JOBS[job]

    @schedule(
        name=job,
        job_name=job,
        cron_schedule=timing.cron,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description=(
            f"Closes the {granularity} that has just ended, {timing.in_words}. What it can't close, because its "
            "sources are not closed yet or because Dagster was down, the sensor partition_gaps closes."
        ),
    )
    def _schedule(context: ScheduleEvaluationContext, timescale: Timescale) -> Iterator[RunRequest | SkipReason]:
        window = _just_ended(granularity, context.scheduled_execution_time.astimezone(UTC))
        key = f"{window.start:{partitions_for(granularity, settings).fmt}}"
        with timescale.session() as connection:
            try:
                now = check_clock(connection)
            except ClockError as error:
                # The run would be refused like this.
                yield SkipReason(str(error))
                return
            state = PartitionState(context.instance, connection, settings, now)
            waiting = open_sources(state, job, window)
            ended = [
                name for name in assets_of(job) if name not in METRIC_ASSETS or _has_ended(state, granularity, window)
            ]
        if window.end > now:
            yield SkipReason(
                f"The {granularity} {key} has not ended by the database's clock; partition_gaps closes it."
            )
        elif waiting:
            yield SkipReason(
                f"The {granularity} {key} waits for {in_words(map(str, waiting))}; partition_gaps closes it once they "
                "are closed."
            )
        else:
            yield RunRequest(
                run_key=f"{job}:{key}",
                partition_key=key,
                # Dates that go on somewhere are closed by partition_gaps.
                **({} if ended == assets_of(job) else _selected(ended, settings)),
            )

    return _schedule


def _has_ended(state: PartitionState, granularity: Granularity, window: Window) -> bool:
    """Return whether the date of a partition has ended for every company and for the platform."""
    return state.local_dates.is_utc or window.end <= state.local_dates.ended(granularity)


def _selected(assets: list[str], settings: Settings) -> dict[str, Any]:
    return {
        "asset_selection": [asset_key(name, settings) for name in assets],
        "asset_check_keys": proofs_of(assets, settings),
    }


def _just_ended(granularity: Granularity, instant: datetime) -> Window:
    end = granularity.floor(instant)
    *_, last = Window(granularity.floor(end - (granularity.next(end) - end)), end).split(granularity)
    return last
