"""Backups as an asset, with the schedule that makes one each day and the check that restores the newest each week.

They are there only where ``ANALYTICS_BACKUPS`` names a place for them.
"""

import time

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetExecutionContext,
    AssetsDefinition,
    AssetSelection,
    Definitions,
    Failure,
    MaterializeResult,
    MetadataValue,
    asset_check,
    define_asset_job,
)

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.operations.backup import make_backup
from analytics_pipeline.operations.keeping import DAILY, MONTHLY, WEEKLY, drop_superfluous, whole_backups
from analytics_pipeline.operations.restore import rehearse_restore
from analytics_pipeline.orchestration.keys import asset_key, assets_named, check_key
from analytics_pipeline.orchestration.shared import OPERATIONS, pipeline_asset, pipeline_schedule
from analytics_pipeline.settings import Settings

BACKUPS = "backups"
BACKUP_JOB, REHEARSAL_JOB = "backups_daily", "backups_rehearsal"
CHECK = "newest_backup_restores"
# A run that works for longer than two hours is taken for stuck otherwise.
_LONG = {"dagster/max_runtime": "86400"}


def defs(settings: Settings) -> Definitions:
    """Return the asset ``backups``, its check, their jobs and schedules; nothing where no place is named."""
    if not settings.backups:
        return Definitions()
    check = AssetSelection.checks(check_key(BACKUPS, CHECK, settings))
    backup = define_asset_job(
        BACKUP_JOB,
        selection=assets_named([BACKUPS], settings) - check,
        tags=_LONG,
        description="Makes a backup and drops those that need not be kept.",
    )
    rehearsal = define_asset_job(
        REHEARSAL_JOB,
        selection=check,
        tags=_LONG,
        description="Restores the newest backup into databases made for it, and compares them with it.",
    )
    # The setting is what switches them on.
    schedules = [
        pipeline_schedule(BACKUP_JOB, BACKUP_JOB, "30 2 * * *", "Makes a backup each day at 02:30 UTC."),
        pipeline_schedule(
            REHEARSAL_JOB, REHEARSAL_JOB, "30 4 * * 0", "Restores the newest backup each Sunday at 04:30 UTC."
        ),
    ]
    return Definitions(
        assets=[_build_asset(settings)],
        asset_checks=[_build_check(settings)],
        jobs=[backup, rehearsal],
        schedules=schedules,
    )


def _build_asset(settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        BACKUPS,
        "Backups of the database and of Dagster's storage in ANALYTICS_BACKUPS: the newest of each of the last "
        f"{DAILY} days, {WEEKLY} weeks and {MONTHLY} months. Materialising it makes one, and drops what need not be "
        "kept.",
        settings,
        group=OPERATIONS,
        kinds={"postgres"},
        # It works for long, and would hold a place of those that close partitions.
        pool=None,
    )
    def _backups(context: AssetExecutionContext) -> MaterializeResult:  # type: ignore[type-arg]
        started = time.monotonic()
        try:
            backup = make_backup(settings, settings.backups, context.log.info)
            manifest = backup.manifest()
            # Afterwards, so that one that fails costs none of those that are there.
            dropped = drop_superfluous(settings.backups)
            kept = len(whole_backups(settings.backups))
        except AnalyticsError as error:
            raise Failure(description=str(error), allow_retries=False) from error
        return MaterializeResult(
            metadata={
                "dagster/uri": backup.location,
                "size (bytes)": manifest.bytes,
                "rows": manifest.database.content.rows if manifest.database else 0,
                "rows of Dagster's storage": manifest.dagster.content.rows if manifest.dagster else 0,
                "seconds": round(time.monotonic() - started, 1),
                "backups kept": kept,
                "dropped": MetadataValue.json(dropped),
            }
        )

    return _backups


def _build_check(settings: Settings) -> AssetChecksDefinition:
    @asset_check(
        asset=asset_key(BACKUPS, settings),
        name=CHECK,
        description=(
            "The newest backup, restored into databases made for it, holds what its manifest says: rows, chunks, "
            "policies, figures, and Dagster's storage."
        ),
    )
    def _newest_backup_restores(context: AssetCheckExecutionContext) -> AssetCheckResult:
        started = time.monotonic()
        try:
            found = whole_backups(settings.backups)
            if not found:
                return AssetCheckResult(passed=False, description="There is no backup: materialise the asset backups.")
            restored = rehearse_restore(settings, found[-1], context.log.info)
        except AnalyticsError as error:
            return AssetCheckResult(passed=False, description=str(error))
        description = "; ".join([*restored.differences, *restored.notes])
        return AssetCheckResult(
            passed=not restored.differences,
            description=description or f"{found[-1].name} was restored, and all of it is there.",
            metadata={
                "backup": found[-1].location,
                "differences": len(restored.differences),
                "differences allowed": "0",
                "seconds": round(time.monotonic() - started, 1),
            },
        )

    return _newest_backup_restores
