"""How the database and Dagster's storage stand, as assets whose metadata Dagster plots over time.

The figures are those of ``stats`` and of ``/metrics``: the views of ``sql/operations.sql``.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Definitions,
    MaterializeResult,
    MetadataValue,
    TableRecord,
)

from analytics_pipeline.asset_names import EVENTS
from analytics_pipeline.operations.dagster_storage import measure_dagster_storage
from analytics_pipeline.operations.stats import Rows, Stats, read_stats
from analytics_pipeline.orchestration.keys import asset_key, assets_named
from analytics_pipeline.orchestration.metadata import MetadataMap
from analytics_pipeline.orchestration.resources import Timescale
from analytics_pipeline.orchestration.shared import OPERATIONS, pipeline_assets, pipeline_job, pipeline_schedule
from analytics_pipeline.settings import Settings

JOB = "monitoring"
DAGSTER: Final = "monitoring_dagster"
# Of each table of a materialisation, which is stored each time.
_MAX_ROWS = 50


def defs(settings: Settings) -> Definitions:
    """Return the assets of monitoring, and the job and schedule that materialise them."""
    job = pipeline_job(
        JOB,
        assets_named(list(_ASSETS), settings),
        "Measures the database and Dagster's storage, for the plots of its assets.",
    )
    schedule = pipeline_schedule(
        # Each run leaves about 50 kB in Dagster's storage: what changes by the minute is for Prometheus.
        "monitoring_every_6_hours",
        JOB,
        "40 */6 * * *",
        "Runs its job at 00:40, 06:40, 12:40 and 18:40 UTC.",
    )
    return Definitions(assets=[_build_assets(settings)], jobs=[job], schedules=[schedule])


def _build_assets(settings: Settings) -> AssetsDefinition:
    described = {name: description for name, (description, _) in _ASSETS.items()}

    @pipeline_assets("database_state", described, settings, group=OPERATIONS, kinds={"timescaledb"})
    def _monitoring(context: AssetExecutionContext, timescale: Timescale) -> Iterator[MaterializeResult]:  # type: ignore[type-arg]
        selected = [name for name in _ASSETS if asset_key(name, settings) in context.selected_asset_keys]
        with timescale.session() as connection:
            if DAGSTER in selected:
                measure_dagster_storage(connection, timescale.settings)
            stats = read_stats(connection)
        for name in selected:
            yield MaterializeResult(asset_key=asset_key(name, settings), metadata=_ASSETS[name][1](stats))

    return _monitoring


def _storage(stats: Stats) -> MetadataMap:
    found: MetadataMap = {"database (bytes)": stats["database"][0]["total_bytes"]}
    for row in stats["relations"]:
        shown = ["total_bytes", "compression_ratio"]
        if row["relation"] == EVENTS:
            shown += ["approximate_rows", "chunks", "compressed_chunks"]
        found |= _numbers(row["relation"], row, shown)
    return {**found, f"newest chunks of {EVENTS}": _table(stats["chunks"][: -_MAX_ROWS - 1 : -1])}


def _jobs(stats: Stats) -> MetadataMap:
    found: MetadataMap = {}
    for row in stats["jobs"]:
        found |= _numbers(f"{row['procedure']} of {row['relation']}", row, ["runs", "failures"])
    return {**found, "jobs": _table(stats["jobs"])}


def _lag(stats: Stats) -> MetadataMap:
    found: MetadataMap = {}
    for row in stats["lag"]:
        found |= _numbers(row["aggregate"], row, ["lag", "stale_ranges"])
    for what in ("open", "failed"):
        found[f"{what} partitions"] = sum(row[what] for row in stats["partitions"])
    found["stale partitions"] = sum(row["partitions"] for row in stats["stale"])
    return {**found, "partitions": _table(stats["partitions"])}


def _ingestion(stats: Stats) -> MetadataMap:
    found = _numbers("", stats["database"][0], ["events_recorded_last_hour"])
    for row in stats["recent"]:
        found |= _numbers(row["period"], row, ["events", "rejected"])
    found["late events and other changes that are not closed again"] = sum(row["changes"] for row in stats["changes"])
    return found


def _statements(stats: Stats) -> MetadataMap:
    found: MetadataMap = {"pg_stat_statements": stats["database"][0]["statement_statistics"]}
    if not stats["queries"]:
        return found
    found["slowest mean (ms)"] = float(max(row["mean_milliseconds"] for row in stats["queries"]))
    found["slowest of all (ms)"] = float(max(row["max_milliseconds"] for row in stats["queries"]))
    return {**found, "statements": _table(stats["queries"])}


def _dagster(stats: Stats) -> MetadataMap:
    rows = stats["dagster"]
    if not rows:
        return {"storage": "not in PostgreSQL, or not there yet"}
    found: MetadataMap = {"storage (bytes)": sum(row["total_bytes"] for row in rows)}
    if growth := [row["bytes_per_day"] for row in rows if row["bytes_per_day"] is not None]:
        found["growth (bytes a day)"] = sum(growth)
    for row in rows:
        if row["table_name"] in _DAGSTER_TABLES:
            found |= _numbers(
                _DAGSTER_TABLES[row["table_name"]], row, ["approximate_rows", "total_bytes", "bytes_per_day"]
            )
    return {**found, "tables": _table(rows)}


# What grows, as people call it.
_DAGSTER_TABLES = {
    "runs": "runs",
    "event_logs": "events",
    "asset_check_executions": "results of checks",
    "job_ticks": "ticks",
}

_ASSETS: dict[str, tuple[str, Callable[[Stats], MetadataMap]]] = {
    "monitoring_storage": (
        "How large the database, its hypertable and its aggregates are, how many chunks there are, how well they are "
        "compressed.",
        _storage,
    ),
    "monitoring_jobs": ("How often the jobs of TimescaleDB's policies have run and failed.", _jobs),
    "monitoring_lag": (
        "How many seconds each aggregate is behind the newest event, and which partitions are open, failed or stale.",
        _lag,
    ),
    "monitoring_ingestion": (
        "How many events came in and how many records were rejected, lately, and what came late.",
        _ingestion,
    ),
    "monitoring_statements": (
        "The statements that took the most time, where pg_stat_statements counts them.",
        _statements,
    ),
    DAGSTER: (
        "How large Dagster's own storage is: runs, events, results of checks, ticks, and how fast it grows.",
        _dagster,
    ),
}


def _numbers(subject: str, row: dict[str, Any], columns: list[str]) -> MetadataMap:
    """Return the columns of a row that have a value, as Dagster plots them: numbers, a duration in seconds."""
    found: MetadataMap = {}
    for column in columns:
        value = row[column]
        if value is None:
            continue
        name = f"{subject}: {column.replace('_', ' ')}".removeprefix(": ")
        if isinstance(value, timedelta):
            found[f"{name} (s)"] = round(value.total_seconds())
        else:
            found[name] = float(value) if isinstance(value, Decimal) else value
    return found


def _table(rows: Rows) -> MetadataValue:
    """Return the first rows as the table that the UI shows."""
    return MetadataValue.table(
        [TableRecord({column: _cell(value) for column, value in row.items()}) for row in rows[:_MAX_ROWS]]
    )


def _cell(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
