"""``alerts``: what the threshold rules say of the closed partitions of each metric asset.

Blocks nothing: a rule that fires is a matter for those it tells, and the figures are right all the same.
"""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetChecksDefinition, asset_check

from analytics_pipeline.alerts.check import CHECK, check_alerts
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, MetricTable
from analytics_pipeline.orchestration.checks.results import check_result, window_judged
from analytics_pipeline.orchestration.names import POOL, RETRY
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.windows import Cadence


def build_alert_checks() -> list[AssetChecksDefinition]:
    """Return the check ``alerts`` of every metric asset; the rules are read when it runs."""
    return [_build_check(table, cadence) for cadence in GRANULARITIES for table in METRIC_TABLES]


def _build_check(table: MetricTable, cadence: Cadence) -> AssetChecksDefinition:
    @asset_check(
        asset=table.asset(cadence),
        name=CHECK,
        description=(
            f"No rule of the file of rules fires in the closed {cadence}s of the run, or in the latest one. Only the "
            "latest one begins and ends alerts and tells people of it."
        ),
        pool=POOL,
        retry_policy=RETRY,
    )
    def _alerts(context: AssetCheckExecutionContext, timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(check_alerts(connection, timescale.settings, table, cadence, window_judged(context)))

    return _alerts
