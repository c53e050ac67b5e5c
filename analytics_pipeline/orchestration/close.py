"""Closes every partition of a span through Dagster, headless, in dependency order."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dagster import DagsterInstance, Definitions, ExecuteInProcessResult

from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.database import connect
from analytics_pipeline.definitions import build_definitions
from analytics_pipeline.errors import AnalyticsError, ArgumentError
from analytics_pipeline.events.ingest import IngestSummary
from analytics_pipeline.metrics.local_dates import read_local_dates
from analytics_pipeline.orchestration.closing.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.fx import FX_JOB
from analytics_pipeline.orchestration.ingestion.incoming_events import ingested_file, summary_metadata
from analytics_pipeline.orchestration.partition_definitions import partitions_for, range_runs, range_tags
from analytics_pipeline.orchestration.runs.command_runs import execute_run
from analytics_pipeline.orchestration.runs.dagster_storage import open_instance
from analytics_pipeline.orchestration.runs.dead_runs import fail_dead_runs
from analytics_pipeline.orchestration.runs.descriptions import describe_failure, describe_run
from analytics_pipeline.orchestration.runs.tags import CLOSE
from analytics_pipeline.orchestration.storage import SETUP_JOB
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import check_clock, machine_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import behind_horizon, require_within_horizon, retention_horizon
from analytics_pipeline.windows import Granularity, Window


@dataclass(frozen=True, slots=True)
class ClosedRange:
    """One run: the job, the range of partitions it closed, how many checks passed, what it wrote."""

    job: str
    window: Window
    partitions: int
    checks: int
    seconds: float
    run_id: str
    documents: tuple[str, ...]

    def __str__(self) -> str:
        """Show the run in a line for people."""
        return (
            f"{self.job:<20} {self.window}  {self.partitions} partitions, {self.checks} checks passed, "
            f"{self.seconds:.1f} s"
        )

    def as_json(self) -> dict[str, object]:
        """Return the run with the fields of the command's JSON."""
        return {
            "job": self.job,
            "start": self.window.start.isoformat(),
            "end": self.window.end.isoformat(),
            "partitions": self.partitions,
            "checks": self.checks,
            "seconds": round(self.seconds, 3),
            "runId": self.run_id,
            "documents": list(self.documents),
        }


def close_with_instance(
    settings: Settings,
    span: Window,
    on_closed: Callable[[ClosedRange], None] = lambda _: None,
    *,
    reason: str = CLOSE,
) -> list[ClosedRange]:
    """Close a span as ``close_span`` does, on the instance of ``DAGSTER_HOME``."""
    with open_instance(settings) as instance:
        return close_span(build_definitions(settings), settings, instance, span, on_closed, reason=reason)


def set_up_with_instance(settings: Settings, *, reason: str) -> int:
    """Materialise ``analytics_events`` on the instance of ``DAGSTER_HOME`` and return the checks that passed.

    Raises ``AnalyticsError`` when the set-up or a check of it fails.
    """
    with open_instance(settings) as instance:
        return _passed_checks(_execute(build_definitions(settings), settings, instance, SETUP_JOB, reason))


def load_rates_with_instance(settings: Settings, *, reason: str) -> str:
    """Materialise ``fx_rates`` on the instance of ``DAGSTER_HOME`` and return in words what was loaded.

    Raises ``AnalyticsError`` when its source can't be read.
    """
    with open_instance(settings) as instance:
        result = _execute(build_definitions(settings), settings, instance, FX_JOB, reason)
    (loaded,) = result.get_asset_materialization_events()
    counts = {name: value.value for name, value in loaded.materialization.metadata.items()}
    return (
        f"{counts['rates read']:,} rates read, up to {counts['newest rate']}; {counts['new rates']:,} new, "
        f"{counts['changed rates']:,} changed, {counts['rejected']:,} rejected"
    )


def report_file_with_instance(settings: Settings, name: str, summary: IngestSummary) -> None:
    """Record a file that was ingested as a materialisation of ``incoming_events``, without a run."""
    with open_instance(settings) as instance:
        instance.report_runless_asset_event(ingested_file(name, summary_metadata(summary), settings))


def close_span(
    definitions: Definitions,
    settings: Settings,
    instance: DagsterInstance,
    span: Window,
    on_closed: Callable[[ClosedRange], None] = lambda _: None,
    *,
    reason: str = CLOSE,
) -> list[ClosedRange]:
    """Close the hours, days and months that lie within the half-open span and have ended.

    The database's clock tells what has ended. Partitions that only reach into the span stay as they are.
    Repeating it is harmless. Runs that a dead process has left are marked failed first; ``reason`` is what the runs
    of this span say they were made for. Raises ``AnalyticsError`` when the span holds no whole partition that has ended
    or begins before ``ANALYTICS_START``, and when a run or a check fails: what was closed before stays closed.
    Before there is a run it raises ``ClockError`` when this machine's clock is too far from the database's, and
    ``HorizonError`` when the span begins behind the retention horizon.
    """
    with connect(settings, autocommit=True) as connection:
        ranges = ranges_to_close(connection, settings, span)
    fail_dead_runs(instance, settings)
    closed = []
    for job, window in ranges:
        result = _close_range(definitions, settings, instance, job, window, reason)
        closed.append(result)
        on_closed(result)
    return closed


def ranges_to_close(connection: Connection, settings: Settings, span: Window) -> list[tuple[str, Window]]:
    """Return the runs that close the half-open span, in their order: the job and the window of each.

    Raises as ``close_span`` does for a span of which nothing can be closed.
    """
    _require_within_partitions(settings, span)
    # Dagster has no partition that has not ended by this machine's clock, too.
    now = min(check_clock(connection), machine_now())
    if span.start < now:
        require_within_horizon(connection, next(iter(assets_of("hourly_aggregates"))), Granularity.HOUR, span)
        ended = Window(span.start, min(span.end, now))
        platform = platform_calendar(connection, settings)
        dates = read_local_dates(connection, platform.time_zone, now)
        horizon = retention_horizon(connection)
        ranges = []
        for job, width in CLOSING_JOBS.items():
            start, until = span.start, ended.end
            if dates.is_utc:
                pass
            elif width is Granularity.HOUR:
                # Dates of other time zones reach beyond the span.
                first = max([partitions_for(width, settings).start, *(w.end for w in behind_horizon(width, horizon))])
                start, until = min(start, max(start - dates.ahead, first)), min(until + dates.behind, now)
            else:
                # What goes on for some company is closed when it has ended for all: its metrics can't be before.
                until = min(until, dates.ended(width))
            if start < until:
                ranges += [(job, window) for window in range_runs(Window(start, until), width)]
        if ranges:
            return ranges
    raise AnalyticsError(f"No hour of {span} has ended yet: there is nothing to close.")


def _require_within_partitions(settings: Settings, span: Window) -> None:
    first = partitions_for(Granularity.HOUR, settings).start
    if span.start < first:
        raise ArgumentError(
            f"The span {span} begins before the first partition, {first:%Y-%m-%d}: start there, or set "
            f"ANALYTICS_START={span.start:%Y-%m}-01."
        )
    if not span.is_aligned(Granularity.HOUR):
        raise ArgumentError(f"The span {span} must begin and end on full hours (UTC).")


def _close_range(
    definitions: Definitions, settings: Settings, instance: DagsterInstance, job: str, window: Window, reason: str
) -> ClosedRange:
    started = time.monotonic()
    granularity = CLOSING_JOBS[job]
    result = _execute(definitions, settings, instance, job, reason, range_tags(window, granularity, settings))
    documents = [
        str(event.materialization.metadata["path"].value)
        for event in result.get_asset_materialization_events()
        if "path" in event.materialization.metadata
    ]
    return ClosedRange(
        job=job,
        window=window,
        partitions=window.count(granularity),
        checks=_passed_checks(result),
        seconds=time.monotonic() - started,
        run_id=result.run_id,
        documents=tuple(documents),
    )


def _passed_checks(result: ExecuteInProcessResult) -> int:
    return sum(check.passed for check in result.get_asset_check_evaluations())


def _execute(
    definitions: Definitions,
    settings: Settings,
    instance: DagsterInstance,
    job: str,
    reason: str,
    tags: dict[str, str] | None = None,
) -> ExecuteInProcessResult:
    """Run a job in this process; a failed step or check is an ``AnalyticsError`` that says why."""
    result = execute_run(definitions, settings, instance, job, reason, tags)
    # Whether the newest events are closed yet, and the like, is not checked by this run: what blocks counts.
    failed = [check for check in result.get_asset_check_evaluations() if check.blocking and not check.passed]
    if failed:
        reasons = "; ".join(f"{c.check_name} of {c.asset_key.to_user_string()}: {c.description}" for c in failed)
        raise AnalyticsError(f"{job} ({describe_run(settings, result.run_id)}) has failed checks. {reasons}")
    if not result.success:
        reason = describe_failure(result.all_events) or "see its log in the Dagster UI"
        raise AnalyticsError(f"{job} ({describe_run(settings, result.run_id)}) failed: {reason}")
    return result
