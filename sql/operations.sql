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
    max(p.closed_at) AS last_closed_at,
    count(*) FILTER (WHERE p.closed_at IS NULL) AS open
FROM analytics_partitions AS p
GROUP BY p.asset;

COMMENT ON VIEW analytics_operations_partitions IS
    'Partitions of each asset: how many are closed, past change and failed, when the last one was closed, and how many were '
    'begun and are not closed.';

CREATE OR REPLACE VIEW analytics_operations_stale AS
SELECT * FROM analytics_operations_stale();

COMMENT ON VIEW analytics_operations_stale IS
    'The stale partitions of each asset that has any: closed, and their events or figures have changed since.';

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

CREATE OR REPLACE VIEW analytics_operations_recent AS
SELECT p.period, p.age, r.events, r.rejected
FROM (
    VALUES
        (
            'last whole hour', interval '1 hour',
            date_trunc('hour', now(), 'UTC') - interval '1 hour', date_trunc('hour', now(), 'UTC')
        ),
        ('last day', interval '1 day', now() - interval '1 day', 'infinity'),
        ('last 7 days', interval '7 days', now() - interval '7 days', 'infinity'),
        ('last 30 days', interval '30 days', now() - interval '30 days', 'infinity')
) AS p (period, age, first_hour, until)
CROSS JOIN LATERAL analytics_operations_recent(p.first_hour, p.until) AS r;

COMMENT ON VIEW analytics_operations_recent IS
    'What came in lately: events by when they happened, records rejected by when they were, in whole hours (UTC).';

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

-- From check to check by the index: there is a row for each window that was ever checked.
CREATE OR REPLACE VIEW analytics_operations_checks AS
WITH RECURSIVE newest AS (
    (
        SELECT c.subject, c.check_name, c.passed, c.severity, c.window_start, c.window_end, c.checked_at
        FROM analytics_check_results AS c
        ORDER BY c.subject, c.check_name, c.checked_at DESC
        LIMIT 1
    )
    UNION ALL
    SELECT c.*
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT c.subject, c.check_name, c.passed, c.severity, c.window_start, c.window_end, c.checked_at
        FROM analytics_check_results AS c
        WHERE (c.subject, c.check_name) > (n.subject, n.check_name)
        ORDER BY c.subject, c.check_name, c.checked_at DESC
        LIMIT 1
    ) AS c
)
SELECT n.subject, n.check_name, n.passed, n.severity, n.window_start, n.window_end, n.checked_at
FROM newest AS n;

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
    ) AS events_recorded_last_hour,
    analytics_operations_statements() AS statement_statistics;

COMMENT ON VIEW analytics_operations_database IS
    'The database: bytes, versions, its newest event, how many events of the last two days came in the last hour, and '
    'whether pg_stat_statements counts its statements.';

CREATE OR REPLACE VIEW analytics_operations_queries AS
SELECT * FROM analytics_operations_queries();

COMMENT ON VIEW analytics_operations_queries IS
    'The twenty statements of this database that took the most time, where pg_stat_statements counts them.';

CREATE OR REPLACE VIEW analytics_operations_dagster AS
SELECT
    n.table_name,
    n.approximate_rows,
    n.total_bytes,
    round((n.approximate_rows - b.approximate_rows) / d.days)::bigint AS rows_per_day,
    round((n.total_bytes - b.total_bytes) / d.days)::bigint AS bytes_per_day,
    n.measured_at
FROM analytics_dagster_storage AS n
LEFT JOIN LATERAL (
    SELECT s.approximate_rows, s.total_bytes, s.measured_at
    FROM analytics_dagster_storage AS s
    WHERE s.table_name = n.table_name
      AND s.measured_at >= n.measured_at - interval '7 days' AND s.measured_at < n.measured_at
    ORDER BY s.measured_at
    LIMIT 1
) AS b ON true
CROSS JOIN LATERAL (SELECT extract(epoch FROM n.measured_at - b.measured_at) / 86400) AS d (days)
WHERE n.measured_at = (SELECT max(s.measured_at) FROM analytics_dagster_storage AS s);

COMMENT ON VIEW analytics_operations_dagster IS
    'The tables of Dagster''s own storage as they were measured last: rows (estimated), bytes with indexes, and how much '
    'they have grown a day over up to 7 days (null: measured once).';
