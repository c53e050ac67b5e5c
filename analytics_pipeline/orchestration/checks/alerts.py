"""``alerts``: what the threshold rules say of the closed partitions of each metric asset.

Blocks nothing: a rule that fires is a matter for those it tells, and the figures are right all the same. The assets
share one step, as the checks of the database do.
"""

from collections.abc import Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckKey,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetKey,
    multi_asset_check,
)

from analytics_pipeline.alerts.check import CHECK, check_alerts
from analytics_pipeline.metrics.tables import GRANULARITIES, METRIC_TABLES
from analytics_pipeline.orchestration.checks.results import check_result, window_judged
from analytics_pipeline.orchestration.names import POOL, RETRY
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.windows import Cadence


def build_alert_checks() -> AssetChecksDefinition:
    """Return the check ``alerts`` of every metric asset; the rules are read when it runs."""
    judged = {
        AssetCheckKey(AssetKey(table.asset(cadence)), CHECK): (table, cadence)
        for cadence in GRANULARITIES
        for table in METRIC_TABLES
    }

    @multi_asset_check(
        name="alert_rules",
        description="The threshold rules over what the run has closed.",
        specs=[
            AssetCheckSpec(CHECK, asset=key.asset_key, description=_description(cadence))
            for key, (_, cadence) in judged.items()
        ],
        can_subset=True,
        pool=POOL,
        retry_policy=RETRY,
    )
    def _alert_rules(context: AssetCheckExecutionContext, timescale: Timescale) -> Iterator[AssetCheckResult]:
        window = window_judged(context)
        with timescale.session() as connection:
            for key, (table, cadence) in judged.items():
                if key in context.selected_asset_check_keys:
                    yield check_result(check_alerts(connection, timescale.settings, table, cadence, window))

    return _alert_rules


def _description(cadence: Cadence) -> str:
    return (
        f"No rule of the file of rules fires in the closed {cadence}s of the run, or in the latest one. Only the "
        "latest one begins and ends alerts and tells people of it."
    )
