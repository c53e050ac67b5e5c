"""Checks of every continuous aggregate, generated from the declaration."""

from datetime import timedelta

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    AssetCheckSeverity,
    MetadataValue,
    TableRecord,
    asset_check,
)

from analytics_pipeline.orchestration.names import POOL
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.timescale.aggregates import AGGREGATES, ContinuousAggregate
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.declaration import declaration_drift
from analytics_pipeline.timescale.reconcile import Reconciliation, reconcile
from analytics_pipeline.timescale.refresh import materialized_tables
from analytics_pipeline.windows import Window

# What a check covers that runs on its own, without a partition: the newest part of what is closed.
_LOOK_BACK = timedelta(days=35)


def build_aggregate_checks() -> list[AssetChecksDefinition]:
    """Return ``matches_declaration`` and ``reconciles_with_events`` for every aggregate."""
    return [
        build(aggregate)
        for aggregate in AGGREGATES
        for build in (_build_declaration_check, _build_reconciliation_check)
    ]


def _build_declaration_check(aggregate: ContinuousAggregate) -> AssetChecksDefinition:
    @asset_check(
        asset=aggregate.name,
        name="matches_declaration",
        description=(
            "The relation exists and has the bucket width, source, columns and real-time setting of its declaration."
        ),
        pool=POOL,
    )
    def _matches_declaration(timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            drift = declaration_drift(connection, aggregate)
        return AssetCheckResult(
            passed=not drift,
            description="; ".join(drift) or f"{aggregate.name} is as declared.",
            metadata={"differences": MetadataValue.json(drift)},
        )

    return _matches_declaration


def _build_reconciliation_check(aggregate: ContinuousAggregate) -> AssetChecksDefinition:
    @asset_check(
        asset=aggregate.name,
        name="reconciles_with_events",
        description=(
            "The stored rows of the run's window equal, column for column, what the declaration gives over the raw "
            "events. Run on its own it covers the last 35 days of what is closed."
        ),
        blocking=True,
        pool=POOL,
    )
    def _reconciles_with_events(context: AssetCheckExecutionContext, timescale: Timescale) -> AssetCheckResult:
        with timescale.session() as connection:
            window = _window_to_check(context, connection, aggregate)
            if window is None:
                return AssetCheckResult(passed=True, description="Nothing is closed yet, so nothing can differ.")
            return _report(reconcile(connection, aggregate, window))

    return _reconciles_with_events


def _window_to_check(
    context: AssetCheckExecutionContext, connection: Connection, aggregate: ContinuousAggregate
) -> Window | None:
    run = context.op_execution_context
    if run.has_partition_key or run.has_partition_key_range:
        span = run.partition_time_window
        return Window(span.start, span.end)
    table = materialized_tables(connection).get(aggregate.name)
    if table is None or table.watermark is None:
        return None
    start = aggregate.cadence.floor(table.watermark - _LOOK_BACK)
    return Window(start, table.watermark)


def _report(result: Reconciliation) -> AssetCheckResult:
    companies = sorted({str(d.row.get("company_id")) for d in result.differences})
    buckets = sorted({str(d.row["bucket"]) for d in result.differences})
    if result.agrees:
        text = f"All {result.stored_rows} stored rows of {result.window} equal the raw events."
    else:
        text = (
            f"{result.difference_count} rows of {result.window} differ from the raw events (companies "
            f"{', '.join(companies[:5])}; buckets {buckets[0]} to {buckets[-1]}). Materialise these partitions again, "
            "sources first."
        )
    records = [
        TableRecord({"side": d.side, **{name: str(value) for name, value in d.row.items()}}) for d in result.differences
    ]
    return AssetCheckResult(
        passed=result.agrees,
        severity=AssetCheckSeverity.ERROR,
        description=text,
        metadata={
            "window": str(result.window),
            "rows stored": result.stored_rows,
            "rows expected": result.expected_rows,
            "differences": result.difference_count,
            **({"differing rows": MetadataValue.table(records)} if records else {}),
        },
    )
