-- The stretches of each asset that are closed, of its whole history.
SELECT c.asset, lower(stretch), upper(stretch)
FROM (
    SELECT p.asset, range_agg(tstzrange(p.window_start, p.window_end)) AS stretches
    FROM analytics_partitions AS p
    WHERE p.closed_at IS NOT NULL
    GROUP BY p.asset
) AS c, unnest(c.stretches) AS stretch
ORDER BY 1, 2
