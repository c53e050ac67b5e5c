-- How the last finished run of every policy job ended, on a server with background workers (job_stats,
-- job_errors) and on the embedded one (analytics_job_runs). Jobs below 1000 are TimescaleDB's own.
WITH errors AS (
    SELECT
        e.job_id, e.start_time, e.sqlerrcode, e.err_message,
        -- PostgreSQL 15.20 reports this about every background job, after its work is committed.
        e.sqlerrcode = '24000' AND e.err_message LIKE 'cannot drop portal%' AS is_spurious
    FROM timescaledb_information.job_errors AS e
    WHERE e.job_id >= 1000 AND (e.finish_time IS NOT NULL OR e.err_message IS NOT NULL)
), native AS (
    SELECT
        s.job_id,
        nullif(s.last_run_started_at, '-infinity') AS started_at,
        nullif(s.last_successful_finish, '-infinity') AS succeeded_at,
        s.last_run_status,
        b.consecutive_failures::bigint AS failures,
        last_error.start_time, last_error.sqlerrcode, last_error.err_message, last_error.is_spurious,
        (
            SELECT min(e.start_time) FROM errors AS e
            WHERE e.job_id = s.job_id AND NOT e.is_spurious
              AND e.start_time > coalesce(nullif(s.last_successful_finish, '-infinity'), '-infinity')
        ) AS failing_since
    FROM timescaledb_information.job_stats AS s
    JOIN _timescaledb_internal.bgw_job_stat AS b USING (job_id)
    LEFT JOIN LATERAL (
        SELECT * FROM errors AS e WHERE e.job_id = s.job_id ORDER BY e.start_time DESC LIMIT 1
    ) AS last_error ON true
), judged AS (
    SELECT
        job_id, started_at,
        CASE
            WHEN last_run_status = 'Success' THEN true
            -- No status: it runs, or it crashed, which only the log of errors says.
            WHEN last_run_status IS NULL AND start_time >= started_at THEN false
            WHEN last_run_status IS NULL THEN NULL
            -- A millisecond or so lies between the two clocks of one run.
            WHEN start_time >= started_at - interval '1 second' THEN is_spurious
            ELSE false
        END AS succeeded,
        failing_since, failures, sqlerrcode, err_message
    FROM native
    WHERE started_at IS NOT NULL
), embedded AS (
    SELECT DISTINCT ON (r.job_id)
        r.job_id, r.started_at, r.succeeded,
        (
            SELECT min(f.started_at) FROM analytics_job_runs AS f
            WHERE f.job_id = r.job_id AND f.succeeded IS FALSE AND f.run_id > s.run_id
        ) AS failing_since,
        (
            SELECT count(*) FROM analytics_job_runs AS f
            WHERE f.job_id = r.job_id AND f.succeeded IS FALSE AND f.run_id > s.run_id
        ) AS failures,
        substring(r.error FROM '\(([0-9A-Z]{5})\)$') AS sqlerrcode,
        r.error AS err_message
    FROM analytics_job_runs AS r
    CROSS JOIN LATERAL (
        SELECT coalesce(max(o.run_id), 0) AS run_id FROM analytics_job_runs AS o
        WHERE o.job_id = r.job_id AND o.succeeded
    ) AS s
    WHERE r.finished_at IS NOT NULL
    ORDER BY r.job_id, r.run_id DESC
), newest AS (
    SELECT DISTINCT ON (job_id) *
    FROM (SELECT * FROM judged UNION ALL SELECT * FROM embedded) AS runs
    ORDER BY job_id, started_at DESC
)
SELECT
    j.job_id,
    j.proc_name::text,
    coalesce(ca.view_name, j.hypertable_name)::text AS relation,
    n.succeeded,
    n.started_at,
    coalesce(n.failing_since, n.started_at) AS failing_since,
    coalesce(n.failures, 0) AS failures,
    n.sqlerrcode,
    n.err_message,
    -- TimescaleDB unschedules a job that has failed max_retries times in a row.
    NOT j.scheduled AND j.max_retries > 0 AND coalesce(n.failures, 0) >= j.max_retries AS is_paused
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS ca
    ON (ca.materialization_hypertable_schema, ca.materialization_hypertable_name)
     = (j.hypertable_schema, j.hypertable_name)
    OR (ca.view_schema, ca.view_name) = (j.hypertable_schema, j.hypertable_name)
LEFT JOIN newest AS n USING (job_id)
WHERE j.job_id >= 1000
ORDER BY j.job_id
