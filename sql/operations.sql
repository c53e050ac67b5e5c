-- How the database stands, for analytics_operator: one view for each question of the operations dashboard and of
-- "analytics-pipeline stats". They hold no company's rows, no address and no content of a message or record. A column
-- that a view has got since stands last; a migration that takes one away, or renames it, drops the view.

CREATE OR REPLACE VIEW analytics_operations_relations AS
SELECT * FROM analytics_operations_relations();

COMMENT ON VIEW analytics_operations_relations IS
    'The hypertable of events and each continuous aggregate: rows (estimated), bytes with indexes, chunks, compression.';

CREATE OR REPLACE VIEW analytics_operations_chunks AS
SELECT * FROM analytics_operations_chunks();

COMMENT ON VIEW analytics_operations_chunks IS
    'The chunks of the events: their half-open range, their bytes with indexes, and whether they are compressed.';

CREATE OR REPLACE VIEW analytics_operations_jobs AS
SELECT * FROM analytics_operations_jobs();

COMMENT ON VIEW analytics_operations_jobs IS
    'The jobs of policies: runs and failures since the server counts them, and when they last began and succeeded.';

CREATE OR REPLACE VIEW analytics_operations_lag AS
SELECT * FROM analytics_operations_lag();

COMMENT ON VIEW analytics_operations_lag IS
    'How far each aggregate is stored and closed, how far that is behind the newest event, and how many ranges of what is '
    'closed wait for a refresh because events came late.';

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
SELECT * FROM analytics_operations_ingestion(now() - interval '35 days', 'infinity');

COMMENT ON VIEW analytics_operations_ingestion IS
    'Events of the last 35 days by the hour (UTC) in which they happened and by category, over all companies.';

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
    (SELECT max(e.ingested_at) FROM analytics_events AS e WHERE e."timestamp" > now() - interval '2 days')
        AS last_recorded_at,
    (
        SELECT count(*) FROM analytics_events AS e
        WHERE e."timestamp" > now() - interval '2 days' AND e.ingested_at > now() - interval '1 hour'
    ) AS events_recorded_last_hour;

COMMENT ON VIEW analytics_operations_database IS
    'The database: bytes, versions, its newest event, and how many events of the last two days came in the last hour.';
