-- What is measured of the whole database, for Prometheus: names and labels as they are exported.

CREATE OR REPLACE FUNCTION analytics_operations()
RETURNS TABLE (metric text, label text, value double precision)
LANGUAGE sql STABLE
AS $$
    WITH closed AS MATERIALIZED (
        SELECT
            p.asset, max(p.window_end) FILTER (WHERE p.closed_at IS NOT NULL) AS closed_until,
            max(p.closed_at) AS closed_at, count(*) FILTER (WHERE p.closed_at IS NULL) AS open_partitions
        FROM analytics_partitions AS p
        GROUP BY p.asset
    )
    SELECT 'analytics_closed_lag_seconds', c.asset, extract(epoch FROM now() - c.closed_until)
    FROM closed AS c
    UNION ALL
    SELECT 'analytics_closed_age_seconds', c.asset, extract(epoch FROM now() - c.closed_at)
    FROM closed AS c
    UNION ALL
    SELECT 'analytics_open_partitions', c.asset, c.open_partitions
    FROM closed AS c
    UNION ALL
    SELECT 'analytics_stale_stretches', c.asset, count(s.asset)
    FROM closed AS c
    LEFT JOIN analytics_closing_stretches('1970-01-01 00:00:00+00', now()) AS s
        ON s.asset = c.asset AND s.state = 'stale'
    GROUP BY c.asset
    UNION ALL
    SELECT 'analytics_data_age_seconds', '', extract(epoch FROM now() - analytics_data_through())
    UNION ALL
    SELECT 'analytics_stored_events', '', approximate_row_count('analytics_events')
    UNION ALL
    SELECT 'analytics_kept_rejects', r.kind, count(*) FROM analytics_ingest_rejects AS r GROUP BY r.kind
    UNION ALL
    SELECT 'analytics_event_conflicts', '', count(*) FROM analytics_event_conflicts
    UNION ALL
    SELECT 'analytics_outbox_messages', o.state, count(*) FROM analytics_outbox AS o GROUP BY o.state
$$;

COMMENT ON FUNCTION analytics_operations IS
    'Lag and age of what is closed, open and stale partitions, events, rejects and messages, for Prometheus.';
