-- When each closed partition of these assets was last begun and closed.
SELECT p.asset, p.window_start, p.window_end, p.attempted_at, p.closed_at
FROM analytics_partitions AS p
WHERE p.asset = ANY (%(assets)s) AND p.closed_at IS NOT NULL
