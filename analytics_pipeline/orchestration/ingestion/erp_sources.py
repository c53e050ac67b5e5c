"""The tables of an ERP: an asset for each source, the job that reads all of them, and the sensor that asks for it.

How far each source has been read is in our own database, written with the events: the sensor needs no cursor.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from analytics_pipeline.asset_names import ERP_PREFIX, EVENTS
from analytics_pipeline.erp.cursors import SourceStatus, read_statuses
from analytics_pipeline.erp.probe import is_pausing, what_is_new, why_due_by_itself
from analytics_pipeline.erp.reader import connect_erp
from analytics_pipeline.erp.record_source import SourceResult, record_source
from analytics_pipeline.erp.source_files import ErpSource, Reads, choose_sources, read_shipped_sources, read_sources
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.orchestration.ingestion.progress_lines import now_and_then
from analytics_pipeline.orchestration.keys import assets_named
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.sensors import LatestRun, pipeline_sensor
from analytics_pipeline.orchestration.shared import STORAGE, AssetJob, pipeline_asset, pipeline_job
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection

ERP_JOB = "erp_sources"
# A long history is read by several runs, of a few minutes each.
_MAX_ROWS_PER_RUN = 1_000_000

_NAME = "erp_sources"
_INTERVAL_SECONDS = 60
# Every run leaves about a hundred rows in Dagster's storage permanently: not one every minute.
_RUNS_APART = timedelta(minutes=5)
# What keeps sources from being probed fails a run, too, by which operators are notified: now and then.
_FAILING_RUNS_APART = timedelta(minutes=30)
# A tick has 60 s, connecting included.
_PROBE_SECONDS = 5
_MAX_SECONDS_PER_TICK = 30

_UNFED = "Nothing feeds it yet: ANALYTICS_ERP_URL is not set (docs/erp-sources.md). "

_STORED = {
    Reads.EVENTS: f"Recorded into {EVENTS}",
    Reads.COMPANIES: "Kept in analytics_companies, but for what a person has set there,",
}

_log = logging.getLogger(__name__)


def sources_of(settings: Settings) -> list[ErpSource]:
    """Return the sources that are assets: those of the settings, or the shipped ones if those can't be read.

    A broken file must not take the whole code location with it: materialising the assets says what is wrong.
    """
    try:
        return read_sources(settings)
    except AnalyticsError as error:
        _log.warning("The sources of the ERP can't be read: %s", error)
        return read_shipped_sources()


def build_erp_assets(settings: Settings) -> list[AssetsDefinition]:
    """Return one asset per source, ``erp_<name>``; they exist whether an ERP is configured or not."""
    return [_build_asset(source, settings) for source in sources_of(settings)]


def build_erp_job(settings: Settings) -> AssetJob:
    """Return the job ``erp_sources``: every source, one after the other; one that fails leaves the others alone."""
    sources = [ERP_PREFIX + source.name for source in sources_of(settings)]
    return pipeline_job(
        ERP_JOB,
        assets_named(sources, settings),
        "Records events from the ERP's own tables (ANALYTICS_ERP_URL); the sensor erp_sources starts it.",
    )


def _build_asset(source: ErpSource, settings: Settings) -> AssetsDefinition:
    @pipeline_asset(
        ERP_PREFIX + source.name,
        f"{'' if settings.erp_url else _UNFED}{source.description} {_STORED[source.reads]} from the database of "
        f"ANALYTICS_ERP_URL, by the query {source.file}; repeating it is harmless.",
        settings,
        group=STORAGE,
        kinds={"postgres"},
    )
    def _erp_source(context: AssetExecutionContext, timescale: Timescale) -> MaterializeResult:  # type: ignore[type-arg]
        with timescale.session() as connection:
            # Read again: the file may have been fixed since this process was started.
            (current,) = choose_sources(read_sources(timescale.settings), [source.name])
            result = record_source(
                connection,
                timescale.settings,
                current,
                max_rows=_MAX_ROWS_PER_RUN,
                progress=now_and_then(context.log.info, _progress),
            )
        if result.taken_over:
            context.log.warning("Another run has begun to read this source and goes on; this one stopped.")
        return MaterializeResult(metadata=_metadata(result, datetime.now(UTC)))

    return _erp_source


def _progress(result: SourceResult) -> str:
    return f"{result.read:,} rows read, {result.new:,} new, {result.rejected:,} rejected"


def _metadata(result: SourceResult, now: datetime) -> MetadataMap:
    metadata: MetadataMap = {
        "rows read": result.read,
        "new events": result.new,
        "already there": result.already_there,
        "rejected": result.rejected,
        "rejects not kept": result.not_kept,
        "read to the end": MetadataValue.bool(result.is_complete),
        "seconds": round(result.seconds, 3),
    }
    instants = {
        "cursor": result.cursor_at,
        "first event": result.first,
        "last event": result.last,
        "held back by a transaction since": result.held_back_since,
    }
    metadata |= {name: MetadataValue.timestamp(instant) for name, instant in instants.items() if instant is not None}
    if result.read_until is not None:
        metadata["lag (seconds)"] = max(0.0, round((now - result.read_until).total_seconds(), 1))
    if result.reasons:
        metadata["rejected because"] = MetadataValue.json(dict(result.reasons.most_common(20)))
    return metadata


def build_erp_sensor() -> SensorDefinition:
    """Return the sensor ``erp_sources``, switched on."""

    @pipeline_sensor(
        _NAME,
        _INTERVAL_SECONDS,
        "Probes each minute whether the ERP's tables (ANALYTICS_ERP_URL) hold rows that were not read yet, late "
        "ones included, and starts a run that records them, at most one every five minutes and one at a time.",
        job=ERP_JOB,
    )
    def _erp_sources(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        settings = timescale.settings
        if settings.erp_url is None:
            return _skip("No ERP is read: ANALYTICS_ERP_URL is not set (docs/erp-sources.md).")
        latest = LatestRun.of(context.instance, ERP_JOB)
        if latest.is_unfinished():
            return _skip("A run is reading the ERP, or waits for its turn.")
        with timescale.session() as connection:
            return _probe(connection, settings, latest)

    return _erp_sources


def _probe(connection: Connection, settings: Settings, latest: LatestRun) -> SensorResult:
    # Runs are Dagster's, and the sources' states are dated by the database.
    since_run, now = latest.age, database_now(connection)
    statuses = read_statuses(connection)
    try:
        sources = [s for s in read_sources(settings) if not is_pausing(statuses.get(s.name), now)]
        is_cut_short = any(source.name in statuses and statuses[source.name].is_cut_short for source in sources)
        if since_run is not None and since_run < _RUNS_APART and not is_cut_short:
            return _skip("The last run began less than five minutes ago.")
        why = _why_due(connection, settings, sources, statuses, now)
    except AnalyticsError as error:
        if since_run is not None and since_run < _FAILING_RUNS_APART:
            return _skip(f"{error} A run fails of it every thirty minutes, so that operators hear of it.")
        why = str(error)
    if why is None:
        return _skip(_describe_nothing(sources, statuses, now))
    # A crashed run is asked for again by this sensor, after a pause.
    return SensorResult(run_requests=[latest.request_next(why, {tags.MAX_RETRIES: "0"})])


def _why_due(
    connection: Connection,
    settings: Settings,
    sources: Sequence[ErpSource],
    statuses: Mapping[str, SourceStatus],
    now: datetime,
) -> str | None:
    """Return why a run is due, None if nothing is new. Raises what kept a source from being probed."""
    for source in sources:
        if why := why_due_by_itself(statuses.get(source.name), now):
            return f"{source.name}: {why}"
    problem = None
    deadline = time.monotonic() + _MAX_SECONDS_PER_TICK
    with connect_erp(settings) as erp:
        for source in sources:
            if time.monotonic() > deadline:
                # The run looks at all of them; the next tick would begin with the slow ones again.
                return f"{source.name}: the tick was over before it was its turn"
            try:
                new = what_is_new(connection, erp, source, statuses[source.name], seconds=_PROBE_SECONDS)
            except DatabaseUnreachableError:
                raise
            except AnalyticsError as error:
                problem = problem or error
                continue
            if new:
                return f"{source.name}: {new}"
    if problem is not None:
        raise problem
    return None


def _describe_nothing(sources: Sequence[ErpSource], statuses: Mapping[str, SourceStatus], now: datetime) -> str:
    parts = []
    if sources:
        parts.append(f"Nothing new in {', '.join(source.name for source in sources)}.")
    parts += [
        f"{status.source} waits after {status.failures} failures: {status.last_error or 'its run died'}."
        for status in statuses.values()
        if is_pausing(status, now)
    ]
    return " ".join(parts)


def _skip(reason: str) -> SensorResult:
    return SensorResult(skip_reason=SkipReason(reason))
