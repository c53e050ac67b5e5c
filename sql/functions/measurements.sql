-- What is measured of the whole database, for Prometheus: names and labels as they are exported. Each figure is one of
-- the views of sql/operations.sql, which people and Dagster read, too.

CREATE OR REPLACE FUNCTION analytics_operations()
RETURNS TABLE (metric text, label text, value double precision)
LANGUAGE sql STABLE
AS $$
    WITH partition AS MATERIALIZED (SELECT * FROM analytics_operations_partitions),
    stale AS MATERIALIZED (SELECT * FROM analytics_operations_stale),
    relation AS MATERIALIZED (SELECT * FROM analytics_operations_relations),
    job AS MATERIALIZED (SELECT * FROM analytics_operations_jobs AS j WHERE j.scheduled),
    lag AS MATERIALIZED (SELECT * FROM analytics_operations_lag),
    dagster AS MATERIALIZED (SELECT * FROM analytics_operations_dagster),
    outbox AS MATERIALIZED (SELECT * FROM analytics_operations_outbox),
    -- The longer periods read far more, and change little between two scrapes.
    recent AS MATERIALIZED (
        SELECT r.events, r.rejected FROM analytics_operations_recent(now() - interval '1 day', 'infinity') AS r
    )
    SELECT v.metric, p.asset, v.value::double precision
    FROM partition AS p
    LEFT JOIN stale AS s USING (asset)
    CROSS JOIN LATERAL (
        VALUES
            ('analytics_closed_lag_seconds', extract(epoch FROM now() - p.closed_through)),
            ('analytics_closed_age_seconds', extract(epoch FROM now() - p.last_closed_at)),
            ('analytics_open_partitions', p.open),
            ('analytics_failed_partitions', p.failed),
            ('analytics_stale_partitions', coalesce(s.partitions, 0)),
            ('analytics_stale_stretches', coalesce(s.stretches, 0))
    ) AS v (metric, value)
    UNION ALL
    SELECT v.metric, r.relation, v.value::double precision
    FROM relation AS r
    CROSS JOIN LATERAL (
        VALUES
            ('analytics_relation_bytes', r.total_bytes),
            ('analytics_relation_rows', r.approximate_rows),
            ('analytics_relation_chunks', r.chunks),
            ('analytics_compressed_chunks', r.compressed_chunks),
            ('analytics_compression_ratio', r.compression_ratio)
    ) AS v (metric, value)
    UNION ALL
    SELECT 'analytics_stored_events', '', r.approximate_rows FROM relation AS r WHERE r.kind = 'events'
    UNION ALL
    SELECT v.metric, concat_ws(' of ', j.procedure, j.relation), v.value::double precision
    FROM job AS j
    CROSS JOIN LATERAL (
        VALUES
            ('analytics_job_runs', j.runs),
            ('analytics_job_failures', j.failures),
            ('analytics_job_success_age_seconds', extract(epoch FROM now() - j.last_success))
    ) AS v (metric, value)
    UNION ALL
    SELECT v.metric, l.aggregate, v.value::double precision
    FROM lag AS l
    CROSS JOIN LATERAL (
        VALUES
            ('analytics_aggregate_lag_seconds', extract(epoch FROM l.lag)),
            ('analytics_aggregate_stale_ranges', l.stale_ranges)
    ) AS v (metric, value)
    UNION ALL
    SELECT v.metric, d.table_name, v.value::double precision
    FROM dagster AS d
    CROSS JOIN LATERAL (
        VALUES ('analytics_dagster_rows', d.approximate_rows), ('analytics_dagster_bytes', d.total_bytes)
    ) AS v (metric, value)
    UNION ALL
    SELECT 'analytics_dagster_bytes_per_day', '', sum(d.bytes_per_day) FROM dagster AS d
    UNION ALL
    SELECT 'analytics_dagster_measured_age_seconds', '', extract(epoch FROM now() - max(d.measured_at)) FROM dagster AS d
    UNION ALL
    SELECT 'analytics_data_age_seconds', '', extract(epoch FROM now() - analytics_data_through())
    UNION ALL
    SELECT 'analytics_database_bytes', '', pg_database_size(current_database())
    UNION ALL
    SELECT 'analytics_events_last_day', '', r.events FROM recent AS r
    UNION ALL
    SELECT 'analytics_rejects_last_day', '', r.rejected FROM recent AS r
    UNION ALL
    SELECT 'analytics_kept_rejects', r.kind, count(*) FROM analytics_ingest_rejects AS r GROUP BY r.kind
    UNION ALL
    SELECT 'analytics_event_conflicts', '', count(*) FROM analytics_event_conflicts
    UNION ALL
    SELECT 'analytics_unseen_changes', c.cause, c.changes FROM analytics_operations_changes AS c
    UNION ALL
    SELECT 'analytics_failed_checks', format('%s of %s', c.check_name, c.subject), (NOT c.passed)::integer
    FROM analytics_operations_checks AS c
    UNION ALL
    SELECT 'analytics_outbox_messages', o.state, sum(o.messages) FROM outbox AS o GROUP BY o.state
    UNION ALL
    SELECT 'analytics_outbox_overdue_seconds', '', greatest(extract(epoch FROM now() - min(o.oldest_due_at)), 0)
    FROM outbox AS o
    UNION ALL
    SELECT 'analytics_slowest_statement_seconds', '', max(q.mean_milliseconds) / 1000
    FROM analytics_operations_queries AS q
$$;

COMMENT ON FUNCTION analytics_operations IS
    'What Prometheus reads: sizes, jobs, lag, what is closed, open and stale, events, rejects, messages, checks, Dagster.';
