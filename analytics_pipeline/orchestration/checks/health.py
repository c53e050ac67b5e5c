"""Asset checks over the database, generated from ``analytics_pipeline.health``: of the state of each asset.

Blocking checks, those of the set-up, are steps of their own, so that only what is built on their asset waits for them;
all the others share one step and one connection. None looks at the partitions of a run (``checks.window`` does).
"""

from collections.abc import Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    Failure,
    asset_check,
    multi_asset_check,
)

from analytics_pipeline.health.checks import HealthCheck, all_checks, run_check
from analytics_pipeline.health.finding import Finding
from analytics_pipeline.orchestration.checks.results import check_result, window_judged
from analytics_pipeline.orchestration.names import POOL, RETRY
from analytics_pipeline.orchestration.resources import Timescale


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
    def _blocking_check(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(run_check(check, connection, timescale.settings))

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
        refuted: list[Finding] = []
        with timescale.session() as connection:
            for key, check in by_key.items():
                if key in context.selected_asset_check_keys:
                    finding = run_check(check, connection, timescale.settings)
                    if check.judge_window is not None and not finding.passed:
                        refuted.append(finding)
                    yield check_result(finding)
        if refuted and window_judged(context) is None:
            # A run of checks alone blocks nothing: by its failure operators are notified of figures that are wrong.
            reasons = "; ".join(f"{finding.check} of {finding.subject}: {finding.text}" for finding in refuted)
            raise Failure(description=reasons, allow_retries=False)

    return _database_checks
