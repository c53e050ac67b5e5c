"""``no_failed_partitions``: stretches of an asset's partitions whose last attempt has failed.

Dagster's own mark of a failed partition can't be relied on here: with a range bundled into one planned
event (orchestration.instance says why) a failed range marks none, and a blocking check fails after the
materialisation it judges. ``analytics_partitions`` knows them.
"""

from collections.abc import Iterator

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    DagsterInstance,
)

from analytics_pipeline.health.check_result import CheckResult, Violation, close_command
from analytics_pipeline.metrics.partitions import FailedRange
from analytics_pipeline.orchestration.check_results import check_result
from analytics_pipeline.orchestration.closing.jobs import granularity_of, partitioned_assets
from analytics_pipeline.orchestration.closing.state import PartitionState
from analytics_pipeline.orchestration.keys import asset_key, asset_name
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.runs.descriptions import describe_run
from analytics_pipeline.orchestration.shared import pipeline_checks
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.clock import database_now
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.windows import common_windows

CHECK = "no_failed_partitions"
DESCRIPTION = (
    "Every partition whose last attempt failed was closed since, however long ago that is, by "
    "analytics_partitions, because a failed range marks none of its partitions in Dagster. Judged within a minute "
    "after each run over the asset has ended."
)
_MAX_SHOWN = 5


def build_failed_check(settings: Settings) -> AssetChecksDefinition:
    """Return ``no_failed_partitions`` for every partitioned asset, in one step that asks once."""
    assets = partitioned_assets()

    @pipeline_checks(
        "partition_checks",
        "The checks of partitions that have failed.",
        [AssetCheckSpec(CHECK, asset=asset_key(asset, settings), description=DESCRIPTION) for asset in assets],
    )
    def _partition_checks(context: AssetCheckExecutionContext, timescale: Timescale) -> Iterator[AssetCheckResult]:
        selected = {asset_name(key.asset_key, settings) for key in context.selected_asset_check_keys}
        with timescale.session() as connection:
            judged = [asset for asset in assets if asset in selected]
            for finding in failed_partition_findings(context.instance, connection, settings, judged):
                yield check_result(finding, settings)

    return _partition_checks


def failed_partition_findings(
    instance: DagsterInstance, connection: Connection, settings: Settings, assets: list[str]
) -> Iterator[CheckResult]:
    """Judge assets by the attempts at closing them; those of runs under way are not judged yet."""
    state = PartitionState(instance, connection, settings, database_now(connection))
    for asset in assets:
        yield judge_failed_partitions(state, asset)


def judge_failed_partitions(state: PartitionState, asset: str) -> CheckResult:
    """Judge an asset by one reading of the attempts at closing it."""
    expired = state.expired(granularity_of(asset))
    # Behind the horizon nothing can be closed any more: no remedy is left.
    lost = [failed for failed in state.failed(asset) if common_windows([failed.window], expired)]
    return _judge(state.settings, asset, [failed for failed in state.failed(asset) if failed not in lost], len(lost))


def _judge(settings: Settings, asset: str, failed: list[FailedRange], lost: int) -> CheckResult:
    more = f"; and {len(failed) - _MAX_SHOWN} more stretches" if len(failed) > _MAX_SHOWN else ""
    problems = [
        Violation(
            f"the last run {'failed' if f.attempts else 'was interrupted'} for {f.window} ("
            f"{describe_run(settings, f.run_id)}"
            f"{f', {f.failure}' if f.failure else ''})"
            f"{more if f is failed[:_MAX_SHOWN][-1] else ''}",
            close_command(f.window),
            fallback=f"in the UI: Assets > {asset} > Materialize, with the failed range of partitions",
        )
        for f in failed[:_MAX_SHOWN]
    ]
    return CheckResult.judge(
        CHECK,
        asset,
        problems,
        good="No partition was left by a failed run."
        + (f" {lost} failed stretches are behind the retention horizon, where nothing can be closed." if lost else ""),
        metadata={
            "failed ranges": [
                {
                    "start": f"{f.window.start:%Y-%m-%d %H:%M}",
                    "end": f"{f.window.end:%Y-%m-%d %H:%M}",
                    "run": f.run_id,
                    "attempts": f.attempts,
                    "reason": f.failure or "",
                }
                for f in failed
            ],
            "failed ranges found": len(failed),
            "failed ranges behind the retention horizon": lost,
        },
        limits={"failed ranges allowed": 0},
    )
