-- What the server is and has, for the check timescaledb_extension. Settings and processes that the role
-- may not see come as null or as not seen. The embedded engine is compiled by Emscripten: it is one
-- session without background workers, and loads the library at its start.
SELECT
    current_setting('server_version') AS postgres_version,
    version() LIKE '%emcc%' AS embedded,
    available.default_version AS available_version,
    extension.extversion AS timescaledb_version,
    current_setting('timescaledb.license', true) AS license,
    coalesce(current_setting('timescaledb.restoring', true), 'off') = 'on' AS restoring,
    'timescaledb' = ANY (
        regexp_split_to_array(
            (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'), '[\s,"]+'
        )
    ) AS preloaded,
    (SELECT setting::integer FROM pg_settings WHERE name = 'timescaledb.max_background_workers')
        AS timescaledb_workers,
    (SELECT setting::integer FROM pg_settings WHERE name = 'max_worker_processes') AS max_worker_processes,
    (SELECT setting::integer FROM pg_settings WHERE name = 'max_parallel_workers') AS max_parallel_workers,
    pg_has_role('pg_read_all_stats', 'MEMBER') AS sees_workers,
    activity.schedulers,
    activity.scheduler_here
FROM (
    SELECT
        count(*)::integer AS schedulers,
        coalesce(bool_or(datname = current_database()), false) AS scheduler_here
    FROM pg_stat_activity
    WHERE backend_type = 'TimescaleDB Background Worker Scheduler'
) AS activity
LEFT JOIN pg_extension AS extension ON extension.extname = 'timescaledb'
LEFT JOIN pg_available_extensions AS available ON available.name = 'timescaledb'
