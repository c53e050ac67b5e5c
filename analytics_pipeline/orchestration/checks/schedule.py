"""The checks of the state of assets on a schedule of their own."""

from typing import TYPE_CHECKING

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    DefaultScheduleStatus,
    ScheduleDefinition,
    define_asset_job,
)

from analytics_pipeline.health.checks import all_checks
from analytics_pipeline.orchestration.checks.failed_partitions import CHECK, partitioned_assets
from analytics_pipeline.orchestration.checks.recorded_partitions import CHECK as RECORDED
from analytics_pipeline.timescale.aggregates import EVENTS

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

CHECKS_JOB = "checks"
FRESHNESS_JOB = "freshness"

# What goes wrong by itself within hours. Every evaluation leaves 5 kB in Dagster's storage for good: all of
# the checks each hour would be 2 GB a year, these are half a gigabyte.
_HOURLY = ("clock", "up_to_date", "events_arrive", "policy_jobs_healthy")


def build_check_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """Return the jobs that run checks alone, without materialising anything."""
    database = [AssetCheckKey(AssetKey(check.subject), check.name) for check in all_checks()]
    partitions = [AssetCheckKey(AssetKey(asset), CHECK) for asset in partitioned_assets()]
    partitions.append(AssetCheckKey(AssetKey(EVENTS), RECORDED))
    return [
        define_asset_job(
            CHECKS_JOB,
            selection=AssetSelection.checks(*database, *partitions),
            description="Runs every check, with the proof of the last 35 days of what is closed.",
        ),
        define_asset_job(
            FRESHNESS_JOB,
            selection=AssetSelection.checks(*(key for key in database if key.name in _HOURLY)),
            description="Checks that clocks agree, events arrive, aggregates keep up with them, and policy jobs work.",
        ),
    ]


def build_check_schedules() -> list[ScheduleDefinition]:
    """Return ``freshness_hourly`` and ``checks_daily``, switched on: they only read."""
    return [
        # By then the hour's partitions are closed.
        _schedule("freshness_hourly", FRESHNESS_JOB, "25 * * * *", "Runs its job at 25 minutes past each hour."),
        _schedule("checks_daily", CHECKS_JOB, "10 3 * * *", "Runs its job each day at 03:10 UTC."),
    ]


def _schedule(name: str, job: str, cron: str, description: str) -> ScheduleDefinition:
    return ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description=description,
    )
