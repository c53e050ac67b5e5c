"""What Prometheus reads of the database: the figures of ``analytics_operations()``, by their names."""

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily

from analytics_pipeline.timescale.connection import Connection

# By their name: what they say, and of what there is one each.
_FIGURES: dict[str, tuple[str, str | None]] = {
    "analytics_closed_lag_seconds": ("Time since the end of the newest closed partition.", "asset"),
    "analytics_closed_age_seconds": ("Time since a partition was closed last.", "asset"),
    "analytics_open_partitions": ("Partitions whose last attempt has not closed them: failed, or under way.", "asset"),
    "analytics_failed_partitions": ("Partitions whose attempts have failed since they were closed last.", "asset"),
    "analytics_stale_partitions": ("Closed partitions whose events or figures have changed since.", "asset"),
    "analytics_stale_stretches": ("Stretches of such partitions.", "asset"),
    "analytics_aggregate_lag_seconds": ("Time from what an aggregate has stored to the newest event.", "aggregate"),
    "analytics_aggregate_stale_ranges": ("Ranges of what is closed that wait for a refresh.", "aggregate"),
    "analytics_data_age_seconds": ("Time since the newest event.", None),
    "analytics_stored_events": ("Events in the database, about.", None),
    "analytics_events_last_day": ("Events that happened in the last day.", None),
    "analytics_rejects_last_day": ("Records that were rejected in the last day.", None),
    "analytics_kept_rejects": ("Rejected records that are kept.", "kind"),
    "analytics_event_conflicts": ("Records that contradict a stored event.", None),
    "analytics_unseen_changes": ("Late events and other changes that closed figures have not seen.", "cause"),
    "analytics_failed_checks": ("1 where the newest result of a check is a failure, else 0.", "check"),
    "analytics_outbox_messages": ("Messages in the outbox.", "state"),
    "analytics_outbox_overdue_seconds": ("Time since the oldest message that waits was due.", None),
    "analytics_database_bytes": ("Bytes of the database.", None),
    "analytics_relation_bytes": ("Bytes of a hypertable with its indexes.", "relation"),
    "analytics_relation_rows": ("Rows of a hypertable, about.", "relation"),
    "analytics_relation_chunks": ("Chunks of a hypertable.", "relation"),
    "analytics_compressed_chunks": ("Chunks of a hypertable that are compressed.", "relation"),
    "analytics_compression_ratio": ("How many times smaller compressed chunks are.", "relation"),
    "analytics_job_runs": ("Runs of a job of TimescaleDB's policies.", "job"),
    "analytics_job_failures": ("Runs of such a job that failed.", "job"),
    "analytics_job_success_age_seconds": ("Time since such a job succeeded last.", "job"),
    "analytics_slowest_statement_seconds": ("Mean time of the slowest statement that pg_stat_statements counts.", None),
    "analytics_dagster_bytes": ("Bytes of a table of Dagster's storage, when it was measured last.", "table"),
    "analytics_dagster_rows": ("Rows of a table of Dagster's storage, about.", "table"),
    "analytics_dagster_bytes_per_day": ("Bytes that Dagster's storage has grown by each day of the last week.", None),
    "analytics_dagster_measured_age_seconds": ("Time since Dagster's storage was measured.", None),
}

Figures = list[tuple[str, str, float | None]]


def read_operations(connection: Connection) -> Figures:
    """Return the name, label and value of each figure; None: there is none."""
    return connection.execute("SELECT metric, label, value FROM analytics_operations()").fetchall()


def operations_families(figures: Figures) -> Iterable[GaugeMetricFamily]:
    """Return the figures as Prometheus takes them; those without a value are named and have none."""
    families = {
        name: GaugeMetricFamily(name, text, labels=[label] if label else []) for name, (text, label) in _FIGURES.items()
    }
    for name, label, value in figures:
        if value is not None:
            families[name].add_metric([label] if _FIGURES[name][1] else [], value)
    return families.values()
