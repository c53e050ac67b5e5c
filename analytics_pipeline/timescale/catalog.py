"""What this program reads of TimescaleDB's own tables, views and functions, and whether a server has it.

They are internals of the engine: a later release may rename or drop any of them. Whatever the SQL of this project
reads of them is listed here, so that such a release is named in one sentence before anything is refreshed.
"""

from collections.abc import Mapping, Sequence

from analytics_pipeline.errors import AnalyticsError
from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.connection import Connection
from analytics_pipeline.timescale.server import RECOMMENDED_VERSION, server_info, version_text

RELATIONS: Mapping[str, tuple[str, ...]] = {
    "_timescaledb_catalog.compression_settings": ("relid", "compress_relid"),
    "_timescaledb_catalog.continuous_agg": (
        "mat_hypertable_id",
        "raw_hypertable_id",
        "parent_mat_hypertable_id",
        "user_view_schema",
        "user_view_name",
        "partial_view_schema",
        "partial_view_name",
        "direct_view_schema",
        "direct_view_name",
        "materialized_only",
    ),
    "_timescaledb_catalog.continuous_aggs_bucket_function": ("mat_hypertable_id", "bucket_width"),
    "_timescaledb_catalog.continuous_aggs_hypertable_invalidation_log": (
        "hypertable_id",
        "lowest_modified_value",
        "greatest_modified_value",
    ),
    "_timescaledb_catalog.continuous_aggs_invalidation_threshold": ("hypertable_id", "watermark"),
    "_timescaledb_catalog.continuous_aggs_materialization_invalidation_log": (
        "materialization_id",
        "lowest_modified_value",
        "greatest_modified_value",
    ),
    "_timescaledb_catalog.continuous_aggs_materialization_ranges": (
        "materialization_id",
        "lowest_modified_value",
        "greatest_modified_value",
    ),
    "_timescaledb_catalog.continuous_aggs_watermark": ("mat_hypertable_id", "watermark"),
    "_timescaledb_catalog.hypertable": ("id", "schema_name", "table_name"),
    "_timescaledb_internal.bgw_job_stat": ("job_id", "consecutive_failures"),
    "timescaledb_information.chunks": (
        "hypertable_name",
        "range_start",
        "range_end",
        "is_compressed",
        "chunk_creation_time",
    ),
    "timescaledb_information.continuous_aggregates": (
        "view_schema",
        "view_name",
        "materialization_hypertable_schema",
        "materialization_hypertable_name",
        "compression_enabled",
    ),
    "timescaledb_information.dimensions": (
        "hypertable_schema",
        "hypertable_name",
        "dimension_number",
        "column_name",
        "time_interval",
    ),
    "timescaledb_information.hypertable_compression_settings": ("hypertable", "segmentby", "orderby"),
    "timescaledb_information.hypertables": ("hypertable_schema", "hypertable_name", "compression_enabled"),
    "timescaledb_information.job_errors": ("job_id", "start_time", "finish_time", "sqlerrcode", "err_message"),
    "timescaledb_information.job_stats": (
        "job_id",
        "last_run_started_at",
        "last_successful_finish",
        "last_run_status",
        "next_start",
    ),
    "timescaledb_information.jobs": (
        "job_id",
        "proc_name",
        "hypertable_schema",
        "hypertable_name",
        "scheduled",
        "schedule_interval",
        "retry_period",
        "max_retries",
        "initial_start",
        "next_start",
        "fixed_schedule",
        "config",
    ),
}
FUNCTIONS = (
    "_timescaledb_functions.start_background_workers()",
    "_timescaledb_functions.to_timestamp(bigint)",
    "_timescaledb_functions.to_unix_microseconds(timestamptz)",
)
_MAX_NAMED = 3


def missing_from_catalog(
    connection: Connection, relations: Mapping[str, tuple[str, ...]] = RELATIONS, functions: tuple[str, ...] = FUNCTIONS
) -> list[str]:
    """Return what this server lacks of the named relations, their columns and functions, sorted by name."""
    pairs = [(relation, column) for relation, columns in relations.items() for column in columns]
    parameters = {
        "relations": [relation for relation, _ in pairs],
        "columns": [column for _, column in pairs],
        "functions": list(functions),
    }
    return [name for (name,) in connection.execute(load_query("missing_from_catalog"), parameters)]


def require_known_catalog(connection: Connection) -> None:
    """Raise ``AnalyticsError`` that names version and remedy if the server lacks what this program reads."""
    if missing := missing_from_catalog(connection):
        raise AnalyticsError(describe_missing(server_info(connection).timescaledb_version, missing))


def describe_missing(version: str, missing: Sequence[str]) -> str:
    """Return the sentence about a TimescaleDB of which something is missing, without its full stop."""
    named = ", ".join(missing[:_MAX_NAMED])
    more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
    return (
        f"TimescaleDB {version} lacks what this program reads of its internal tables ({named}{more}): update "
        f"analytics_pipeline to a release that knows it, or restore the database into TimescaleDB "
        f"{version_text(RECOMMENDED_VERSION)}"
    )
