-- When the last attempt at a window of these assets began.
SELECT max(p.attempted_at)
FROM analytics_partitions AS p
WHERE p.asset = ANY (%(assets)s) AND p.window_start >= %(start)s AND p.window_start < %(end)s
