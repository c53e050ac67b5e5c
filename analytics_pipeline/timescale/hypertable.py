"""The hypertable of raw events: its columns and its state."""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics_pipeline.sql_files import load_query
from analytics_pipeline.timescale.aggregates import Column
from analytics_pipeline.timescale.connection import Connection, fetch_row

EVENT_COLUMNS: Mapping[str, Column] = {
    "event_id": Column("uuid", "Identity of the event; unique together with timestamp."),
    "timestamp": Column("timestamptz", "When it happened, UTC: decides the bucket."),
    "ingested_at": Column("timestamptz", "When it was recorded: decides what must be recomputed."),
    "company_id": Column("text", "The tenant."),
    "user_id": Column("text", "The user within the company, if one is concerned."),
    "event_type": Column("text", "What happened, for example payment.received."),
    "category": Column("text", "billing, revenue, user_activity, crypto or subscription."),
    "value": Column("numeric", "Exact amount, negative for refunds and credits."),
    "currency": Column("text", "ISO 4217 code or crypto ticker of value."),
    "metadata": Column("jsonb", "Further properties of the event type."),
}


@dataclass(frozen=True, slots=True)
class HypertableStatus:
    """State of the hypertable; the row count is the planner's estimate, sizes are in bytes."""

    approximate_rows: int
    chunks: int
    compressed_chunks: int
    size_bytes: int


def hypertable_status(connection: Connection) -> HypertableStatus:
    """Return the state of ``analytics_events``."""
    row = fetch_row(connection, load_query("hypertable_status"))
    return HypertableStatus(*row)


def ensure_statistics(connection: Connection) -> None:
    """Let the planner count the events where nobody else does: the embedded server has no autovacuum.

    A new database's autovacuum comes a minute after the first events; no large one is counted here.
    """
    if fetch_row(connection, load_query("lacks_statistics")) == (True,):
        connection.execute("ANALYZE analytics_events")


def hypertable_drift(connection: Connection) -> list[str]:
    """Return what differs from the layout of the migrations, a sentence each; empty when nothing does."""
    row = connection.execute(load_query("hypertable_layout")).fetchone()
    if row is None:
        return ["analytics_events is not a hypertable: run 'analytics-pipeline db migrate'"]
    dimension, compression_enabled, has_unique_key, columns = row
    drift = []
    if dimension != "timestamp":
        drift.append(f"it is partitioned on {dimension}, not on timestamp: restore it from a backup")
    if not compression_enabled:
        drift.append("compression is off: ALTER TABLE analytics_events SET (timescaledb.compress)")
    if not has_unique_key:
        drift.append(
            "the unique key is missing, so events can be recorded twice: CREATE UNIQUE INDEX ON analytics_events "
            '(event_id, "timestamp")'
        )
    missing = [name for name in EVENT_COLUMNS if name not in columns]
    if missing:
        drift.append(f"columns are missing: {', '.join(missing)}")
    return drift
