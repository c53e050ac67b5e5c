"""Asset checks over the database, generated from ``analytics_pipeline.health``.

Blocking checks are steps of their own, so that only what is built on their asset waits for them; all the
others share one step and one connection.
"""

from collections.abc import Iterator

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
from analytics_pipeline.health.results import record_result
from analytics_pipeline.orchestration.attempts import end_attempt
from analytics_pipeline.orchestration.checks.results import check_result, window_judged
from analytics_pipeline.orchestration.names import POOL, RETRY
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.connection import Connection


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
            return _run(check, context, connection, timescale.settings)

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
                    yield _run(check, context, connection, timescale.settings)

    return _database_checks


def _run(
    check: HealthCheck, context: AssetCheckExecutionContext, connection: Connection, settings: Settings
) -> AssetCheckResult:
    """Run a check; what it finds over the window of a run over partitions is kept for the reports."""
    window = window_judged(context) if check.judge_window else None
    finding = run_check(check, connection, settings, window)
    if window is not None:
        record_result(connection, finding, window)
        if check.blocking:
            end_attempt(connection, context.op_execution_context.run, finding, window)
    return check_result(finding)
