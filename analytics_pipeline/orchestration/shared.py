"""What assets and checks of this code location have in common: owners, groups, pool, retries."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from dagster import (
    AssetChecksDefinition,
    AssetCheckSpec,
    AssetsDefinition,
    AssetSelection,
    AssetSpec,
    Backoff,
    DefaultScheduleStatus,
    Jitter,
    ScheduleDefinition,
    asset,
    asset_check,
    define_asset_job,
    multi_asset,
    multi_asset_check,
)

from analytics_pipeline.orchestration.keys import asset_key
from analytics_pipeline.orchestration.metadata import table_schema
from analytics_pipeline.orchestration.partition_definitions import backfill_policy_for, partitions_for
from analytics_pipeline.orchestration.runs import tags
from analytics_pipeline.orchestration.runs.cancellation import StepRetry
from analytics_pipeline.orchestration.runs.executor import owning_executor
from analytics_pipeline.settings import Settings
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.windows import Granularity

if TYPE_CHECKING:
    from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# What ``define_asset_job`` returns: Dagster has no public name for it.
AssetJob: TypeAlias = "UnresolvedAssetJobDefinition"

OWNERS = ["team:data"]
# One limit for everything that works on the database; its size is set in dagster.yaml.
POOL = "timescaledb"

# For what may pass by itself, see resources.Timescale: after about 1, 2, 4 and 8 seconds.
RETRY = StepRetry(max_retries=4, delay=1, backoff=Backoff.EXPONENTIAL, jitter=Jitter.PLUS_MINUS)

# The groups of the asset graph. Plain strings: Dagster can't serialise an enum in their place.
STORAGE = "storage"
AGGREGATES = "aggregates"
METRICS = "metrics"
REPORTS = "reports"
OPERATIONS = "operations"


def pipeline_asset(
    name: str,
    description: str,
    settings: Settings,
    *,
    group: str,
    kinds: set[str],
    deps: Sequence[str] = (),
    granularity: Granularity | None = None,
    table: str | None = None,
    columns: Mapping[str, Column] | None = None,
    code_version: str | None = None,
    pool: str | None = POOL,
    statements: str | None = None,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Return the decorator of an asset of this code location.

    ``granularity`` is the width of its partitions, None if it has none; ``table`` and ``columns`` are shown in the UI.
    ``statements``: what making it does, if that is nothing but statements of one session (``tags.STATEMENTS``).
    """
    metadata: dict[str, Any] = {}
    if table is not None and columns is not None:
        metadata = {"dagster/table_name": table, "dagster/column_schema": table_schema(columns)}
    return asset(
        key=asset_key(name, settings),
        description=description,
        deps=[asset_key(dep, settings) for dep in deps],
        partitions_def=None if granularity is None else partitions_for(granularity, settings),
        backfill_policy=None if granularity is None else backfill_policy_for(granularity),
        group_name=f"{settings.asset_group_prefix}{group}",
        kinds=kinds,
        owners=OWNERS,
        retry_policy=RETRY,
        pool=pool,
        code_version=code_version,
        metadata=metadata,
        op_tags=None if statements is None else {tags.STATEMENTS: statements},
    )


def pipeline_assets(
    step: str, described: Mapping[str, str], settings: Settings, *, group: str, kinds: set[str]
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Return the decorator of assets without partitions that are one step, any of which may be selected.

    ``described`` gives each its description by name. None is built on another.
    """
    specs = [
        AssetSpec(
            asset_key(name, settings),
            description=description,
            group_name=f"{settings.asset_group_prefix}{group}",
            kinds=kinds,
            owners=OWNERS,
            # A step that was asked for some of them yields those alone.
            skippable=True,
        )
        for name, description in described.items()
    ]
    return multi_asset(name=step, specs=specs, can_subset=True, pool=POOL, retry_policy=RETRY)


def pipeline_check(
    subject: str,
    name: str,
    description: str,
    settings: Settings,
    *,
    blocking: bool = False,
    statements: str | None = None,
) -> Callable[[Callable[..., Any]], AssetChecksDefinition]:
    """Return the decorator of a check of the asset ``subject``; what is built on it waits for a blocking one.

    ``statements``: as of an asset.
    """
    return asset_check(
        asset=asset_key(subject, settings),
        name=name,
        description=description,
        blocking=blocking,
        pool=POOL,
        retry_policy=RETRY,
        op_tags=None if statements is None else {tags.STATEMENTS: statements},
    )


def pipeline_checks(
    step: str, description: str, specs: Sequence[AssetCheckSpec]
) -> Callable[[Callable[..., Any]], AssetChecksDefinition]:
    """Return the decorator of checks that are one step, any part of which may be selected."""
    return multi_asset_check(
        name=step, description=description, specs=specs, can_subset=True, pool=POOL, retry_policy=RETRY
    )


def pipeline_job(name: str, selection: AssetSelection, description: str) -> AssetJob:
    """Return a job of this code location, which runs as its runs do wherever it is merged into another one."""
    return define_asset_job(name, selection=selection, description=description, executor_def=owning_executor)


def pipeline_schedule(name: str, job: str, cron: str, description: str) -> ScheduleDefinition:
    """Return a schedule of a whole job, in UTC and switched on."""
    return ScheduleDefinition(
        name=name,
        job_name=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=DefaultScheduleStatus.RUNNING,
        description=description,
    )
