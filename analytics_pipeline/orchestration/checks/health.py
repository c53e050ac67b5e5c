"""Asset checks over the database, generated from ``analytics_pipeline.health``.

Blocking checks are steps of their own, so that only what is built on their asset waits for them; all the
others share one step and one connection.
"""

from collections.abc import Callable, Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    asset_check,
    multi_asset_check,
)

from analytics_pipeline.health.checks import HealthCheck, all_checks, run_check
from analytics_pipeline.health.finding import Finding
from analytics_pipeline.orchestration.checks.results import check_result
from analytics_pipeline.orchestration.names import POOL, RETRY
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import Window


def build_health_checks() -> list[AssetChecksDefinition]:
    """Return the asset checks of server, schema, policies, events and aggregates."""
    checks = all_checks()
    blocking = [_build_blocking_check(check) for check in checks if check.blocking]
    return [*blocking, _build_shared_checks([check for check in checks if not check.blocking])]


def _build_blocking_check(check: HealthCheck) -> AssetChecksDefinition:
    @asset_check(
        asset=check.subject,
        name=check.name,
        description=check.description,
        blocking=True,
        pool=POOL,
        retry_policy=RETRY,
    )
    def _blocking_check(context: AssetCheckExecutionContext, timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(run_check(check, connection, timescale.settings, _judge_of(check, context)))

    return _blocking_check


def _build_shared_checks(checks: list[HealthCheck]) -> AssetChecksDefinition:
    by_key = {AssetCheckKey(AssetKey(check.subject), check.name): check for check in checks}

    @multi_asset_check(
        name="database_checks",
        description="The checks of the database that nothing has to wait for, over one connection.",
        specs=[AssetCheckSpec(c.name, asset=c.subject, description=c.description) for c in checks],
        can_subset=True,
        pool=POOL,
        retry_policy=RETRY,
    )
    def _database_checks(context: AssetCheckExecutionContext, timescale: Timescale) -> Iterator[AssetCheckResult]:
        with timescale.session() as connection:
            for key, check in by_key.items():
                if key in context.selected_asset_check_keys:
                    yield check_result(run_check(check, connection, timescale.settings, _judge_of(check, context)))

    return _database_checks


def _judge_of(
    check: HealthCheck, context: AssetCheckExecutionContext
) -> Callable[[Connection, Settings], Finding] | None:
    """Return what judges the window of a run over partitions; None: the check as it is."""
    run = context.op_execution_context
    judge_window = check.judge_window
    if judge_window is None or not (run.has_partition_key or run.has_partition_key_range):
        return None
    span = run.partition_time_window
    window = Window(span.start, span.end)
    return lambda connection, settings: judge_window(connection, settings, window)
