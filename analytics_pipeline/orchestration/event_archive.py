"""The archive as an asset: what has expired goes there and is dropped, each day.

It is there without the setting, too: a database that has an archive must not be left to a process that doesn't know
where it is without somebody being told.
"""

from dagster import AssetExecutionContext, AssetsDefinition, Definitions, Failure, MaterializeResult

from analytics_pipeline.archive.archiving import LEAD, archive_and_drop
from analytics_pipeline.archive.verifying import archive_status
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import OPERATIONS, pipeline_asset, pipeline_job, pipeline_schedule
from analytics_pipeline.settings import Settings

ASSET, JOB = "event_archive", "event_archiving"


def defs(settings: Settings) -> Definitions:
    """Return the asset ``event_archive``, its job and its schedule."""
    job = pipeline_job(
        JOB,
        assets_named([ASSET], settings),
        "Writes events that are about to expire into the archive, and drops those that are proved to be in it.",
    )
    schedule = pipeline_schedule(JOB, JOB, "50 3 * * *", "Runs its job each day at 03:50 UTC.")
    return Definitions(assets=[_build_asset(settings)], jobs=[job], schedules=[schedule])


def _build_asset(settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        ASSET,
        "Events beyond retention in the Delta table at ANALYTICS_ARCHIVE. Materialising it writes the chunks that "
        f"expire within {LEAD.days} days, reads them back, and drops those that have expired and are not held. Without "
        "the setting it drops nothing, and says so.",
        settings,
        group=OPERATIONS,
        kinds={"deltalake"},
    )
    def _event_archive(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        with timescale.session() as connection:
            run = archive_and_drop(connection, timescale.settings, context.log.info)
            status = archive_status(connection, timescale.settings)
        if run.problems:
            # What could be archived is; the others stay in the database.
            raise Failure(description=" ".join(run.problems), allow_retries=False)
        if run.why is not None and run.location is not None:
            context.log.warning(run.why)
        return MaterializeResult(
            metadata={
                "done": run.why or f"{len(run.archived)} chunks are in the archive, {len(run.dropped)} were dropped.",
                **({"dagster/uri": run.location} if run.location else {}),
                "events written": run.events,
                "chunks dropped": len(run.dropped),
                "chunks held": len(run.held),
                "chunks left because they have changed": len(run.changed),
                "expired chunks waiting": status.waiting,
                "events in the archive": status.events,
                "late events of this run": run.late,
                "late events so far": status.late_events,
                "seconds": round(run.seconds, 1),
            }
        )

    return _event_archive
