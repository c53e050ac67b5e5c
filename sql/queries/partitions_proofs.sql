-- The closed partitions of an asset from an instant on, with their proofs, in order.
SELECT p.window_start, p.window_end, p.closed_at, p.rows, p.events
FROM analytics_partitions AS p
WHERE p.asset = %(asset)s AND p.closed_at IS NOT NULL AND p.window_start >= %(start)s
ORDER BY p.window_start
