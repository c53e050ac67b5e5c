-- How the database stands, for analytics_operator: one view for each question of the operations dashboard and of
-- "analytics-pipeline stats". They hold no company's rows, no address and no content of a message or record. A column
-- that a view has got since stands last; a migration that takes one away, or renames it, drops the view.

CREATE OR REPLACE VIEW analytics_operations_relations AS
WITH relations AS (
    SELECT
        'analytics_events'::text AS relation, 'events'::text AS kind, to_regclass('analytics_events') AS hypertable
    UNION ALL
    SELECT
        a.view_name::text, 'aggregate',
        to_regclass(format('%I.%I', a.materialization_hypertable_schema, a.materialization_hypertable_name))
    FROM timescaledb_information.continuous_aggregates AS a
    WHERE a.view_name LIKE 'analytics\_%'
)
SELECT
    r.relation,
    r.kind,
    approximate_row_count(r.hypertable) AS approximate_rows,
    hypertable_size(r.hypertable) AS total_bytes,
    c.chunks,
    c.compressed_chunks,
    c.first_range_start,
    c.last_range_end,
    s.before_compression_total_bytes::bigint AS bytes_before_compression,
    s.after_compression_total_bytes::bigint AS bytes_after_compression,
    round(s.before_compression_total_bytes::numeric / nullif(s.after_compression_total_bytes, 0), 2) AS compression_ratio
FROM relations AS r
JOIN pg_class AS t ON t.oid = r.hypertable
JOIN pg_namespace AS n ON n.oid = t.relnamespace
CROSS JOIN LATERAL (
    SELECT
        count(*) AS chunks,
        count(*) FILTER (WHERE k.is_compressed) AS compressed_chunks,
        min(k.range_start) AS first_range_start,
        max(k.range_end) AS last_range_end
    FROM timescaledb_information.chunks AS k
    WHERE k.hypertable_schema = n.nspname AND k.hypertable_name = t.relname
) AS c
LEFT JOIN LATERAL (
    SELECT
        sum(h.before_compression_total_bytes) AS before_compression_total_bytes,
        sum(h.after_compression_total_bytes) AS after_compression_total_bytes
    FROM hypertable_compression_stats(r.hypertable) AS h
    WHERE c.compressed_chunks > 0
) AS s ON true;

COMMENT ON VIEW analytics_operations_relations IS
    'The hypertable of events and each continuous aggregate: rows (estimated), bytes with indexes, chunks, compression.';

CREATE OR REPLACE VIEW analytics_operations_chunks AS
SELECT k.range_start, k.range_end, k.is_compressed, s.total_bytes
FROM timescaledb_information.chunks AS k
JOIN chunks_detailed_size('analytics_events') AS s
    ON s.chunk_schema = k.chunk_schema AND s.chunk_name = k.chunk_name
WHERE k.hypertable_name = 'analytics_events';

COMMENT ON VIEW analytics_operations_chunks IS
    'The chunks of the events: their half-open range, their bytes with indexes, and whether they are compressed.';

CREATE OR REPLACE VIEW analytics_operations_jobs AS
SELECT
    j.job_id,
    j.proc_name::text AS procedure,
    coalesce(a.view_name, j.hypertable_name)::text AS relation,
    j.scheduled,
    j.schedule_interval,
    coalesce(e.runs, s.total_runs, 0) AS runs,
    coalesce(e.failures, s.total_failures, 0) AS failures,
    coalesce(e.last_start, nullif(s.last_run_started_at, '-infinity')) AS last_start,
    coalesce(e.last_success, nullif(s.last_successful_finish, '-infinity')) AS last_success,
    CASE WHEN j.scheduled THEN nullif(nullif(j.next_start, '-infinity'), 'infinity') END AS next_start
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS a
    ON (a.materialization_hypertable_schema, a.materialization_hypertable_name) = (j.hypertable_schema, j.hypertable_name)
    OR (a.view_schema, a.view_name) = (j.hypertable_schema, j.hypertable_name)
LEFT JOIN timescaledb_information.job_stats AS s USING (job_id)
-- The embedded server runs jobs itself, past the engine's own counts.
LEFT JOIN (
    SELECT
        r.job_id,
        count(*) AS runs,
        count(*) FILTER (WHERE r.succeeded IS FALSE) AS failures,
        max(r.started_at) AS last_start,
        max(r.finished_at) FILTER (WHERE r.succeeded) AS last_success
    FROM analytics_job_runs AS r
    GROUP BY r.job_id
) AS e USING (job_id)
WHERE j.job_id >= 1000;

COMMENT ON VIEW analytics_operations_jobs IS
    'The jobs of policies: runs and failures since the server counts them, and when they last began and succeeded.';

CREATE OR REPLACE VIEW analytics_operations_lag AS
SELECT
    a.user_view_name::text AS aggregate,
    m.stored_through,
    e.newest_event,
    greatest(e.newest_event - m.stored_through, interval '0') AS lag,
    p.closed_through,
    (
        SELECT count(*)
        FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS l
        WHERE l.materialization_id = a.mat_hypertable_id
          AND l.lowest_modified_value < w.watermark AND l.greatest_modified_value > -210866803200000000
    ) AS stale_ranges
FROM _timescaledb_catalog.continuous_agg AS a
LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark AS w USING (mat_hypertable_id)
CROSS JOIN LATERAL (
    SELECT _timescaledb_functions.to_timestamp(nullif(w.watermark, -210866803200000000)) AS stored_through
) AS m
CROSS JOIN (SELECT max(v."timestamp") AS newest_event FROM analytics_events AS v) AS e
LEFT JOIN LATERAL (
    SELECT max(p.window_end) AS closed_through
    FROM analytics_partitions AS p
    WHERE p.asset = a.user_view_name AND p.closed_at IS NOT NULL
) AS p ON true
WHERE a.user_view_name LIKE 'analytics\_%';

COMMENT ON VIEW analytics_operations_lag IS
    'How far each aggregate is stored and closed, how far that is behind the newest event, and how many of its stored '
    'ranges wait for a refresh because events came late.';

CREATE OR REPLACE VIEW analytics_operations_partitions AS
SELECT
    p.asset,
    count(*) FILTER (WHERE p.closed_at IS NOT NULL) AS closed,
    count(*) FILTER (WHERE p.is_final) AS final,
    count(*) FILTER (WHERE p.failed_attempts > 0) AS failed,
    max(p.window_end) FILTER (WHERE p.closed_at IS NOT NULL) AS closed_through,
    max(p.closed_at) AS last_closed_at
FROM analytics_partitions AS p
GROUP BY p.asset;

COMMENT ON VIEW analytics_operations_partitions IS
    'Partitions of each asset: how many are closed, past change and failed, and when the last one was closed.';

CREATE OR REPLACE VIEW analytics_operations_ingestion AS
SELECT
    v.bucket AS hour, v.category, sum(v.event_count)::bigint AS events
FROM analytics_event_volume_hourly AS v
GROUP BY v.bucket, v.category;

COMMENT ON VIEW analytics_operations_ingestion IS
    'Events by the hour (UTC) in which they happened and by category, over all companies.';

CREATE OR REPLACE VIEW analytics_operations_rejects AS
SELECT r.hour, r.source, r.kind, sum(r.records)::bigint AS records
FROM (
    SELECT date_trunc('hour', i.rejected_at, 'UTC') AS hour, i.source, i.kind, 1 AS records
    FROM analytics_ingest_rejects AS i
    UNION ALL
    SELECT date_trunc('hour', c.rejected_at, 'UTC'), c.source, c.kind, c.records
    FROM analytics_ingest_reject_counts AS c
) AS r
GROUP BY r.hour, r.source, r.kind;

COMMENT ON VIEW analytics_operations_rejects IS
    'Rejected records by the hour in which they were rejected, their source and the kind of reason.';

CREATE OR REPLACE VIEW analytics_operations_changes AS
SELECT c.cause, count(*) AS changes, min(c.recorded_at) AS first_recorded_at, max(c.recorded_at) AS last_recorded_at
FROM analytics_metric_changes AS c
GROUP BY c.cause;

COMMENT ON VIEW analytics_operations_changes IS
    'Changes that closed figures have not seen yet, late events among them, by cause.';

CREATE OR REPLACE VIEW analytics_operations_outbox AS
SELECT
    o.kind,
    o.channel,
    o.state,
    count(*) AS messages,
    min(o.due_at) FILTER (WHERE o.state IN ('pending', 'sending')) AS oldest_due_at,
    max(o.created_at) AS newest_created_at,
    max(o.sent_at) AS last_sent_at
FROM analytics_outbox AS o
GROUP BY o.kind, o.channel, o.state;

COMMENT ON VIEW analytics_operations_outbox IS
    'Messages of the outbox by kind, channel and state, and since when the oldest of them is due.';

CREATE OR REPLACE VIEW analytics_operations_checks AS
SELECT DISTINCT ON (c.subject, c.check_name)
    c.subject, c.check_name, c.passed, c.severity, c.window_start, c.window_end, c.checked_at
FROM analytics_check_results AS c
ORDER BY c.subject, c.check_name, c.checked_at DESC;

COMMENT ON VIEW analytics_operations_checks IS
    'The newest result of each check of each asset.';

CREATE OR REPLACE VIEW analytics_operations_database AS
SELECT
    current_database()::text AS name,
    pg_database_size(current_database()) AS total_bytes,
    (SELECT x.extversion FROM pg_extension AS x WHERE x.extname = 'timescaledb') AS timescaledb_version,
    current_setting('server_version') AS postgresql_version,
    (SELECT max(e."timestamp") FROM analytics_events AS e) AS newest_event,
    (SELECT max(e.ingested_at) FROM analytics_events AS e WHERE e."timestamp" > now() - interval '7 days')
        AS last_recorded_at,
    (
        SELECT count(*) FROM analytics_events AS e
        WHERE e."timestamp" > now() - interval '7 days' AND e.ingested_at > now() - interval '1 hour'
    ) AS events_recorded_last_hour;

COMMENT ON VIEW analytics_operations_database IS
    'The database: bytes, versions, its newest event, and how many events of the last seven days came in the last hour.';
