"""The job that ingests one file of the inbox, and what it reports about the hypertable."""

import time
from collections.abc import Callable

from dagster import (
    AssetKey,
    AssetObservation,
    Config,
    Failure,
    JobDefinition,
    MetadataValue,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    job,
    op,
)
from pydantic import Field

from analytics_pipeline.events.contradictions import OnConflict
from analytics_pipeline.events.inbox import InboxResult, Outcome, ingest_from_inbox
from analytics_pipeline.events.inbox_places import Inbox, open_inbox
from analytics_pipeline.events.ingest import Progress
from analytics_pipeline.events.instants import CUT, LEAP_SECOND
from analytics_pipeline.orchestration import names
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.text import printable, printable_line
from analytics_pipeline.timescale.aggregates import EVENTS

INGESTION_JOB = "event_ingestion"
INGESTION_OP = "ingest_file"
# Tags of its runs: the file's name, and the fingerprint of the very file that was found.
FILE_TAG = "analytics/file"
FINGERPRINT_TAG = "analytics/file_fingerprint"
_SECONDS_BETWEEN_LINES = 10.0


class IngestFile(Config):
    """Which file of the inbox a run ingests."""

    name: str = Field(description="Name of the file in the inbox, without a path.")
    version: str = Field(
        default="",
        description="Leave the file alone if it is no longer this version; empty: take it as it is.",
    )


def build_ingestion_job() -> JobDefinition:
    """Return the job ``event_ingestion``: one file of the inbox."""

    @op(
        name=INGESTION_OP,
        description="Ingests a file of the inbox and moves it to done/ or failed/; repeating it is harmless.",
        pool=names.POOL,
        out=Out(Nothing),
    )
    def _ingest_file(context: OpExecutionContext, config: IngestFile, timescale: Timescale) -> Output[None]:
        inbox = inbox_of(timescale.settings)
        with timescale.session() as connection:
            result = ingest_from_inbox(
                inbox,
                config.name,
                connection,
                version=config.version or None,
                on_conflict=OnConflict(timescale.settings.inbox_on_conflict),
                rejects_kept=timescale.settings.rejects_kept,
                progress=_log_progress(context),
            )
        metadata, name = _metadata(result), printable_line(result.name)
        if result.summary.read or result.summary.nul_bytes:
            context.log_event(AssetObservation(AssetKey(EVENTS), description=f"Ingested {name}", metadata=metadata))
        match result.outcome:
            case Outcome.FAILED:
                raise Failure(
                    description=printable(f"{name} is in {result.location}: {result.reason}"),
                    metadata=metadata,
                    allow_retries=False,
                )
            case Outcome.CHANGED:
                context.log.warning(f"{name} has changed: it stays in the inbox and is taken as it is then.")
            case Outcome.GONE:
                context.log.warning(f"{name} is no longer in the inbox: another run or a person has moved it.")
            case Outcome.DONE:
                context.log.info(printable(f"{name} is in {result.location}."))
        return Output(None, metadata=metadata)

    @job(
        name=INGESTION_JOB,
        description="Ingests one file of the inbox (ANALYTICS_INBOX); the sensor event_inbox starts it.",
    )
    def _event_ingestion() -> None:
        _ingest_file()

    return _event_ingestion


def inbox_of(settings: Settings) -> Inbox:
    """Return the inbox of the settings; the default folder is made when it is missing, a named one is not."""
    return open_inbox(settings.inbox_root, create=not settings.inbox)


def _log_progress(context: OpExecutionContext) -> Callable[[Progress], None]:
    logged = time.monotonic()

    def log(progress: Progress) -> None:
        nonlocal logged
        if time.monotonic() - logged >= _SECONDS_BETWEEN_LINES:
            logged = time.monotonic()
            summary = progress.summary
            context.log.info(
                f"{summary.read:,} records read, {summary.new:,} new, {summary.rejected:,} rejected, "
                f"{summary.rows_per_second:,.0f} rows/s"
            )

    return log


def _metadata(result: InboxResult) -> MetadataMap:
    summary = result.summary
    metadata: MetadataMap = {
        "file": result.name,
        "outcome": result.outcome.value,
        "records read": summary.read,
        "new events": summary.new,
        "already there": summary.already_there,
        "replaced": summary.replaced,
        "rejected": summary.rejected,
        "conflicts": summary.conflicts,
        "rejects not kept": summary.not_kept,
        "NUL bytes skipped": summary.nul_bytes,
        CUT: summary.adjusted[CUT],
        LEAP_SECOND: summary.adjusted[LEAP_SECOND],
        "seconds": round(summary.seconds, 3),
        "rows per second": round(summary.rows_per_second),
    }
    if summary.first is not None and summary.last is not None:
        metadata["first event"] = MetadataValue.timestamp(summary.first)
        metadata["last event"] = MetadataValue.timestamp(summary.last)
    if summary.reasons:
        metadata["rejected because"] = MetadataValue.json(dict(summary.reasons.most_common(20)))
    if result.location is not None:
        metadata["location"] = MetadataValue.path(result.location)
    if result.rejects is not None:
        metadata["rejects"] = MetadataValue.path(result.rejects)
    if result.reason is not None:
        metadata["reason"] = result.reason
    return metadata
