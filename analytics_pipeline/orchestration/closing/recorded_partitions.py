"""``partitions_recorded``: where what is closed by the database and what Dagster has recorded differ."""

from collections.abc import Iterator
from datetime import timedelta

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    DagsterInstance,
)

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.health.check_result import CheckResult, Severity, Violation, close_command
from analytics_pipeline.orchestration.check_results import check_result
from analytics_pipeline.orchestration.closing.dagster_record import windows_of_keys
from analytics_pipeline.orchestration.closing.jobs import granularity_of, partitioned_assets
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import pipeline_check
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window, join_windows, midnight, without_windows

CHECK = "partitions_recorded"
DESCRIPTION = (
    "What analytics_partitions says is closed is materialised in Dagster's record, and what is materialised there was "
    "closed here, or tried and failed."
)
_MAX_SHOWN = 5


def build_recorded_check(settings: Settings) -> AssetChecksDefinition:
    """Return ``partitions_recorded``, over all assets at once: no run over partitions computes it."""

    @pipeline_check(EVENTS, CHECK, DESCRIPTION, settings)
    def _partitions_recorded(context: AssetCheckExecutionContext, timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(recorded_partitions_finding(context.instance, connection, settings), settings)

    return _partitions_recorded


def recorded_partitions_finding(instance: DagsterInstance, connection: Connection, settings: Settings) -> CheckResult:
    """Compare the database's record of closed partitions with Dagster's."""
    state = PartitionState(instance, connection, settings, database_now(connection))
    start = midnight(settings.start)
    # A clock that was wrong may have closed something ahead of its time.
    span = Window(start, max(start, state.now) + timedelta(days=366))
    only_dagster, only_here = [], []
    for asset in partitioned_assets():
        materialized = _materialized(instance, asset, settings)
        closed = state.closed(asset, span)
        tried = [failed.window for failed in state.attempts(asset)]
        under_way = [run.window for run in state.runs_over(asset, span)]
        expired = state.expired(granularity_of(asset))
        unknown = without_windows(materialized, [*closed, *tried, *under_way, *expired])
        only_dagster += [(asset, window) for window in unknown]
        only_here += [(asset, window) for window in without_windows(closed, [*materialized, *under_way])]
    problems = [*_describe_unknown(only_dagster), *_describe_unseen(only_here)]
    return CheckResult.judge(
        CHECK,
        EVENTS,
        problems,
        good="Dagster's record and analytics_partitions name the same partitions.",
        metadata={
            "stretches materialised but not closed": len(only_dagster),
            "stretches closed but not materialised": len(only_here),
        },
        limits={"such stretches allowed": 0},
    )


def _describe_unknown(found: list[tuple[str, Window]]) -> Iterator[Violation]:
    if found:
        span = Window(min(window.start for _, window in found), max(window.end for _, window in found))
        yield Violation(
            f"Dagster has materialisations that analytics_partitions doesn't know to be closed: {_listed(found)}; the "
            "sensor partition_gaps closes them again",
            close_command(span),
            Severity.WARNING,
        )


def _describe_unseen(found: list[tuple[str, Window]]) -> Iterator[Violation]:
    if found:
        yield Violation(
            f"partitions are closed by analytics_partitions, and Dagster has no materialisation of them: "
            f"{_listed(found)}",
            "analytics-pipeline adopt",
            Severity.WARNING,
        )


def _listed(found: list[tuple[str, Window]]) -> str:
    more = f", and {len(found) - _MAX_SHOWN} more" if len(found) > _MAX_SHOWN else ""
    return ", ".join(f"{asset} {window}" for asset, window in found[:_MAX_SHOWN]) + more


def _materialized(instance: DagsterInstance, asset: str, settings: Settings) -> list[Window]:
    keys = instance.get_materialized_partitions(asset_key(asset, settings))
    return join_windows(windows_of_keys(asset, keys, settings).values())
