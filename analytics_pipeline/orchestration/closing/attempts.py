"""One attempt at closing the window of a run, written down as it begins and as it ends."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from dagster import AssetExecutionContext, DagsterRun, Failure

from analytics_pipeline.companies.calendar import platform_calendar
from analytics_pipeline.errors import RefusedError
from analytics_pipeline.health.check_result import CheckResult
from analytics_pipeline.metrics.local_dates import require_ended_everywhere
from analytics_pipeline.metrics.partitions import begin_attempt, record_closed, record_failure
from analytics_pipeline.orchestration.closing.jobs import granularity_of
from analytics_pipeline.orchestration.partition_definitions import window_of
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.cancellation import is_interrupted
from analytics_pipeline.orchestration.runs.descriptions import REFUSED
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.refresh import require_closable
from analytics_pipeline.windows import Window, join_windows, without_windows


@contextmanager
def attempt(
    context: AssetExecutionContext,
    timescale: Timescale,
    asset: str,
    *,
    needs_events: bool,
    proved_by_check: bool,
    of_local_dates: bool = False,
) -> Iterator[tuple[Connection, Window]]:
    """Give the session and the window in which an asset is computed, and note the attempt at closing it.

    What is refused ends the run before anything is noted. ``needs_events``: its partitions can't be computed behind
    the retention horizon. ``of_local_dates``: they have ended when their date has for every company.
    ``proved_by_check``: a check of the same run proves and closes it; otherwise it is closed
    here, once it is computed.
    """
    window, granularity = window_of(context), granularity_of(asset)
    with timescale.session() as connection:
        try:
            require_closable(connection, asset, granularity, window, needs_events=needs_events)
            if of_local_dates:
                platform = platform_calendar(connection, timescale.settings)
                require_ended_everywhere(connection, platform.time_zone, asset, window, timescale.settings.start)
        except RefusedError as error:
            raise Failure(description=str(error), metadata={REFUSED: True}, allow_retries=False) from error
        begin_attempt(connection, asset, granularity, window, context.run.run_id)
        try:
            yield connection, window
        except BaseException as error:
            # What is interrupted has not failed. A connection that is lost can't say why: the attempt stays begun,
            # which counts as failed.
            if isinstance(error, Exception) and not is_interrupted():
                with suppress(psycopg.Error):
                    record_failure(connection, asset, window, str(error), *_runs(context.run))
            raise
        if not proved_by_check:
            record_closed(connection, asset, window, *_runs(context.run))


def end_attempt(connection: Connection, run: DagsterRun, finding: CheckResult, window: Window) -> None:
    """Close the partitions of a run that its proof has passed, and note why it has not passed the others."""
    failed = list(finding.failed_windows) or ([] if finding.passed else [window])
    for proved in without_windows([window], failed):
        record_closed(connection, finding.subject, proved, *_runs(run))
    for part in join_windows(failed):
        record_failure(connection, finding.subject, part, f"{finding.check}: {finding.summary}", *_runs(run))


def _runs(run: DagsterRun) -> list[str]:
    """Return the run and those it repeats: it may prove what one of them has computed."""
    return list(dict.fromkeys(filter(None, (run.run_id, run.parent_run_id, run.root_run_id))))
