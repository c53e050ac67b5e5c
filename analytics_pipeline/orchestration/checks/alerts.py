"""``alerts``: what the threshold rules say of the latest closed period of each metric asset.

Blocks nothing: a rule that fires is a matter for those it notifies, and the figures are right all the same. Runs that
close partitions judge it once these are proved (``checks.window``).
"""

from dagster import AssetCheckResult, AssetChecksDefinition, asset_check

from analytics_pipeline.alerts.check import CHECK, check_alerts
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES, MetricTable
from analytics_pipeline.orchestration.checks.results import check_result
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
            f"No rule of the file of rules fires in the latest closed {cadence}, which begins and ends alerts and "
            "notifies people."
        ),
        pool=POOL,
        retry_policy=RETRY,
    )
    def _alerts(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            return check_result(check_alerts(connection, timescale.settings, table, cadence))

    return _alerts
