"""Asks for a run that reads the ERP when a cheap look shows that there is something to read.

How far each source has been read is in our own database, written with the events: this sensor needs no cursor.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    DefaultSensorStatus,
    RunRecord,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from analytics_pipeline.erp.cursors import SourceStatus, read_statuses
from analytics_pipeline.erp.database import connect_erp
from analytics_pipeline.erp.look import is_pausing, what_is_new, why_due_by_itself
from analytics_pipeline.erp.source_files import ErpSource, read_sources
from analytics_pipeline.errors import AnalyticsError, DatabaseUnreachableError
from analytics_pipeline.orchestration.assets.erp_sources import ERP_JOB
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection

_NAME = "erp_sources"
_INTERVAL_SECONDS = 60
# Every run leaves about a hundred rows in Dagster's storage for good: not one every minute.
_RUNS_APART = timedelta(minutes=5)
# What keeps sources from being looked at fails a run, too, and that is what operators hear of: now and then.
_FAILING_RUNS_APART = timedelta(minutes=30)
# A tick has 60 s, connecting included.
_LOOK_SECONDS = 5
_MOST_SECONDS_PER_TICK = 30


def build_erp_sensor() -> SensorDefinition:
    """Return the sensor ``erp_sources``, switched on."""

    @sensor(
        name=_NAME,
        job_name=ERP_JOB,
        minimum_interval_seconds=_INTERVAL_SECONDS,
        default_status=DefaultSensorStatus.RUNNING,
        description=(
            "Looks each minute whether the ERP's tables (ANALYTICS_ERP_URL) hold rows that were not read yet, late "
            "ones included, and starts a run that records them, at most one every five minutes and one at a time."
        ),
    )
    def _erp_sources(context: SensorEvaluationContext, timescale: Timescale) -> SensorResult:
        settings = timescale.settings
        if settings.erp_url is None:
            return _skip("No ERP is read: ANALYTICS_ERP_URL is not set (docs/erp-sources.md).")
        newest = next(iter(context.instance.get_run_records(RunsFilter(job_name=ERP_JOB), limit=1)), None)
        if newest is not None and not newest.dagster_run.is_finished:
            return _skip("A run is reading the ERP, or waits for its turn.")
        with timescale.session() as connection:
            return _look_around(connection, settings, newest)

    return _erp_sources


def _look_around(connection: Connection, settings: Settings, newest: RunRecord | None) -> SensorResult:
    # Runs are Dagster's, and the sources' states are dated by the database.
    since_run = None if newest is None else datetime.now(UTC) - newest.create_timestamp
    now = database_now(connection)
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
    run_id = "no run" if newest is None else newest.dagster_run.run_id
    # Dagster never launches a run key twice, failed runs included: it says what is new, since which run.
    return SensorResult(
        # A crashed run is asked for again by this sensor, after a pause.
        run_requests=[RunRequest(run_key=f"{why}, after {run_id}", tags={"dagster/max_retries": "0"})]
    )


def _why_due(
    connection: Connection,
    settings: Settings,
    sources: Sequence[ErpSource],
    statuses: Mapping[str, SourceStatus],
    now: datetime,
) -> str | None:
    """Return why a run is due, None if nothing is new. Raises what kept a source from being looked at."""
    for source in sources:
        if why := why_due_by_itself(statuses.get(source.name), now):
            return f"{source.name}: {why}"
    problem = None
    deadline = time.monotonic() + _MOST_SECONDS_PER_TICK
    with connect_erp(settings) as erp:
        for source in sources:
            if time.monotonic() > deadline:
                # The run looks at all of them; the next tick would begin with the slow ones again.
                return f"{source.name}: the tick was over before it was its turn"
            try:
                new = what_is_new(connection, erp, source, statuses[source.name], seconds=_LOOK_SECONDS)
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
