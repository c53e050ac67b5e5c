-- The stretches of each asset whose last attempt has not closed them: it has failed, or it is under way.
SELECT f.asset, lower(stretch), upper(stretch), f.failed_attempts, f.run_id, f.attempted_at, f.failure
FROM (
    SELECT
        p.asset, p.failed_attempts, p.run_id, p.attempted_at, p.failure,
        range_agg(tstzrange(p.window_start, p.window_end)) AS stretches
    FROM analytics_partitions AS p
    WHERE p.closed_at IS NULL
    GROUP BY p.asset, p.failed_attempts, p.run_id, p.attempted_at, p.failure
) AS f, unnest(f.stretches) AS stretch
ORDER BY 1, 2
