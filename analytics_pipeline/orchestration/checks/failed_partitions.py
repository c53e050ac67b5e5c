"""``no_failed_partitions``: ranges of an asset's partitions whose last run failed.

Dagster's own mark of a failed partition can't be relied on here: with a range bundled into one planned
event (orchestration.instance says why) a failed range marks none, and a blocking check fails after the
materialisation it judges. The runs tell.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSpec,
    DagsterInstance,
    multi_asset_check,
)

from analytics_pipeline.health.finding import Finding, Problem
from analytics_pipeline.orchestration.checks.results import check_result
from analytics_pipeline.orchestration.jobs import CLOSING_JOBS, assets_of
from analytics_pipeline.orchestration.partition_state import CoveringRun, PartitionState, failed_ranges
from analytics_pipeline.settings import Settings

CHECK = "no_failed_partitions"
DESCRIPTION = (
    "Every partition whose run failed was closed by a later run, however long ago that is; read from the runs, because "
    "a failed range marks none of its partitions."
)
_MOST_TOLD = 5


def build_partition_checks(settings: Settings) -> list[AssetChecksDefinition]:
    """Return ``no_failed_partitions`` for every partitioned asset, in one step that asks the instance once."""
    assets = partitioned_assets()

    @multi_asset_check(
        name="partition_checks",
        description="The checks of partitions that Dagster's own records tell.",
        specs=[AssetCheckSpec(CHECK, asset=asset, description=DESCRIPTION) for asset in assets],
        can_subset=True,
    )
    def _partition_checks(context: AssetCheckExecutionContext) -> Iterator[AssetCheckResult]:
        selected = {key.asset_key.to_user_string() for key in context.selected_asset_check_keys}
        for finding in failed_partition_findings(context.instance, settings, [a for a in assets if a in selected]):
            yield check_result(finding)

    return [_partition_checks]


def partitioned_assets() -> list[str]:
    """Return the names of all partitioned assets."""
    return [asset for job in CLOSING_JOBS for asset in assets_of(job)]


def failed_partition_findings(instance: DagsterInstance, settings: Settings, assets: list[str]) -> Iterator[Finding]:
    """Judge assets by the instance's runs."""
    state = PartitionState(instance, settings, datetime.now(UTC))
    for asset in assets:
        yield _judge(asset, state.left_by_failures(asset))


def _judge(asset: str, runs: list[CoveringRun]) -> Finding:
    failed = failed_ranges(runs)
    problems = []
    if failed:
        told = ", ".join(f"{window} (run {run.run_id[:8]})" for window, run in failed[:_MOST_TOLD])
        more = f", and {len(failed) - _MOST_TOLD} more" if len(failed) > _MOST_TOLD else ""
        first, last = min(w.start for w, _ in failed), max(w.end for w, _ in failed)
        problems.append(
            Problem(
                f"the last run failed for {told}{more}; the run's log says why",
                f"analytics-pipeline close --start {first:%Y-%m-%dT%H:%M} --end {last:%Y-%m-%dT%H:%M}",
                fallback=f"in the UI: Assets > {asset} > Materialize, with the failed range of partitions; a run "
                "that was refused because its events have expired has materialised nothing: delete it under Runs",
            )
        )
    return Finding.judge(
        CHECK,
        asset,
        problems,
        good="No partition was left by a failed run.",
        metadata={
            "failed ranges": [
                {
                    "start": f"{window.start:%Y-%m-%d %H:%M}",
                    "end": f"{window.end:%Y-%m-%d %H:%M}",
                    "run": run.run_id,
                    "job": run.job,
                    "status": run.status.value,
                }
                for window, run in failed
            ],
            "failed ranges found": len(failed),
            "failed ranges allowed": 0,
        },
    )
