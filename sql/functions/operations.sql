-- How the database stands: what the views of sql/operations.sql show. Functions, because a view on what TimescaleDB brings
-- along would stand in the way of its updates, and one on an aggregate in the way of making that anew. They are the
-- owner's, and hold no company's rows.

CREATE OR REPLACE FUNCTION analytics_operations_relations()
RETURNS TABLE (
    relation text, kind text, approximate_rows bigint, total_bytes bigint, chunks bigint, compressed_chunks bigint,
    first_range_start timestamptz, last_range_end timestamptz, bytes_before_compression bigint,
    bytes_after_compression bigint, compression_ratio numeric
)
LANGUAGE sql STABLE
AS $$
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
    ) AS s ON true
$$;

COMMENT ON FUNCTION analytics_operations_relations IS
    'The hypertable of events and each continuous aggregate: rows (estimated), bytes with indexes, chunks, compression.';

CREATE OR REPLACE FUNCTION analytics_operations_chunks()
RETURNS TABLE (
    range_start timestamptz, range_end timestamptz, is_compressed boolean, total_bytes bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT k.range_start, k.range_end, k.is_compressed, s.total_bytes
    FROM timescaledb_information.chunks AS k
    JOIN chunks_detailed_size('analytics_events') AS s
        ON s.chunk_schema = k.chunk_schema AND s.chunk_name = k.chunk_name
    WHERE k.hypertable_name = 'analytics_events'
$$;

COMMENT ON FUNCTION analytics_operations_chunks IS
    'The chunks of the events: their half-open range, their bytes with indexes, and whether they are compressed.';

CREATE OR REPLACE FUNCTION analytics_operations_jobs()
RETURNS TABLE (
    job_id integer, procedure text, relation text, scheduled boolean, schedule_interval interval, runs bigint,
    failures bigint, last_start timestamptz, last_success timestamptz, next_start timestamptz
)
LANGUAGE sql STABLE
AS $$
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
    WHERE j.job_id >= 1000
$$;

COMMENT ON FUNCTION analytics_operations_jobs IS
    'The jobs of policies: runs and failures since the server counts them, and when they last began and succeeded.';

CREATE OR REPLACE FUNCTION analytics_operations_lag()
RETURNS TABLE (
    aggregate text, stored_through timestamptz, newest_event timestamptz, lag interval, closed_through timestamptz,
    stale_ranges bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT
        a.user_view_name::text AS aggregate,
        m.stored_through,
        e.newest_event,
        greatest(e.newest_event - m.stored_through, interval '0') AS lag,
        p.closed_through,
        (
            SELECT count(*)
            FROM (
                SELECT g.lowest_modified_value AS low
                FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS g
                WHERE g.materialization_id = a.mat_hypertable_id
                UNION ALL
                SELECT g.lowest_modified_value
                FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log AS g
                WHERE g.hypertable_id = a.raw_hypertable_id
            ) AS l
            -- What begins at the beginning of time was never stored.
            WHERE l.low > -210866803200000000
          AND l.low < coalesce(_timescaledb_functions.to_unix_microseconds(p.closed_through), w.watermark)
        ) AS stale_ranges
    FROM _timescaledb_catalog.continuous_agg AS a
    LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark AS w USING (mat_hypertable_id)
    CROSS JOIN LATERAL (
        SELECT _timescaledb_functions.to_timestamp(nullif(w.watermark, -210866803200000000)) AS stored_through
    ) AS m
    CROSS JOIN (SELECT max(v."timestamp") AS newest_event FROM analytics_events AS v) AS e
    LEFT JOIN LATERAL (
        -- By the key, which is sorted as texts are and not as names: the newest one ends last.
        SELECT p.window_end AS closed_through
        FROM analytics_partitions AS p
        WHERE p.asset = a.user_view_name::text COLLATE "default" AND p.closed_at IS NOT NULL
        ORDER BY p.window_start DESC
        LIMIT 1
    ) AS p ON true
    WHERE a.user_view_name LIKE 'analytics\_%'
$$;

COMMENT ON FUNCTION analytics_operations_lag IS
    'How far each aggregate is stored and closed, how far that is behind the newest event, and how many ranges of what is '
    'closed wait for a refresh because events came late.';

CREATE OR REPLACE FUNCTION analytics_operations_ingestion(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (
    hour timestamptz, category text, events bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT
        v.bucket AS hour, v.category, sum(v.event_count)::bigint AS events
    FROM analytics_event_volume_hourly AS v
    WHERE v.bucket >= p_start AND v.bucket < p_end
    GROUP BY v.bucket, v.category
$$;

COMMENT ON FUNCTION analytics_operations_ingestion IS
    'Events of a half-open stretch by the hour (UTC) in which they happened and by category, over all companies.';

CREATE OR REPLACE FUNCTION analytics_operations_recent(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (events bigint, rejected bigint)
LANGUAGE sql STABLE
AS $$
    SELECT
        (SELECT coalesce(sum(i.events), 0)::bigint FROM analytics_operations_ingestion(p_start, p_end) AS i),
        (
            SELECT coalesce(sum(r.records), 0)::bigint FROM analytics_operations_rejects AS r
            WHERE r.hour >= p_start AND r.hour < p_end
        )
$$;

COMMENT ON FUNCTION analytics_operations_recent IS
    'Events of the hours (UTC) of a half-open stretch, by when they happened, and records that were rejected in them.';

CREATE OR REPLACE FUNCTION analytics_operations_stale()
RETURNS TABLE (asset text, partitions bigint, stretches bigint, first_start timestamptz, last_end timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT
        s.asset, count(*),
        (SELECT count(*) FROM unnest(range_agg(tstzrange(s.window_start, s.window_end))) AS stretch),
        min(s.window_start), max(s.window_end)
    FROM analytics_stale_partitions('1970-01-01 00:00:00+00', now()) AS s
    GROUP BY s.asset
$$;

COMMENT ON FUNCTION analytics_operations_stale IS
    'The stale partitions of each asset that has any: closed, and their events or figures have changed since.';

-- Statements as pg_stat_statements keeps them, their values taken out. Of others, such as CREATE ROLE, it keeps values.
CREATE OR REPLACE FUNCTION analytics_operations_queries()
RETURNS TABLE (
    rank bigint, query text, calls bigint, total_seconds numeric, mean_milliseconds numeric, max_milliseconds numeric, rows bigint
)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    statements text := (
        SELECT format('%I.pg_stat_statements', x.extnamespace::regnamespace)
        FROM pg_extension AS x
        WHERE x.extname = 'pg_stat_statements'
    );
BEGIN
    IF statements IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        $query$
        SELECT
            row_number() OVER (ORDER BY sum(s.total_exec_time) DESC),
            left(regexp_replace(min(s.query), '\s+', ' ', 'g'), 300),
            sum(s.calls)::bigint,
            round((sum(s.total_exec_time) / 1000)::numeric, 3),
            round((sum(s.total_exec_time) / sum(s.calls))::numeric, 3),
            round(max(s.max_exec_time)::numeric, 3),
            sum(s.rows)::bigint
        FROM %s AS s
        WHERE s.dbid = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
          AND s.calls > 0
          AND s.query ~* '^\s*(select|with|insert|update|delete|merge|call)\M'
        GROUP BY s.queryid
        ORDER BY 1
        LIMIT 20
        $query$,
        statements
    );
EXCEPTION
    -- The server does not load its library: analytics_operations_database says so.
    WHEN object_not_in_prerequisite_state THEN RETURN;
END
$$;

COMMENT ON FUNCTION analytics_operations_queries IS
    'The twenty statements of this database that took the most time, where pg_stat_statements counts them.';

CREATE OR REPLACE FUNCTION analytics_operations_statements()
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT CASE
        WHEN NOT EXISTS (SELECT FROM pg_extension AS x WHERE x.extname = 'pg_stat_statements') THEN 'not installed'
        -- Without its library the server does not know its settings.
        WHEN current_setting('pg_stat_statements.max', true) IS NULL THEN 'not loaded'
        ELSE 'counted'
    END
$$;

COMMENT ON FUNCTION analytics_operations_statements IS
    'Whether pg_stat_statements counts the statements of this database: counted, not installed, or not loaded.';

-- With the owner's rights, and the tables and TimescaleDB's functions found whatever the search path of a session is.
DO $$
DECLARE
    shown regprocedure;
BEGIN
    FOR shown IN
        SELECT p.oid
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND p.proname LIKE 'analytics\_operations\_%'
    LOOP
        EXECUTE format(
            'ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, %I, %s, pg_temp',
            shown, current_schema(),
            (SELECT x.extnamespace::regnamespace FROM pg_extension AS x WHERE x.extname = 'timescaledb')
        );
    END LOOP;
END
$$;
