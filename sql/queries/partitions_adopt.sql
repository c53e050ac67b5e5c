-- Partitions that were closed before there was a record of them here; what was begun meanwhile stays as it is.
INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at, run_id, attempted_at)
SELECT %(asset)s, a.window_start, a.window_end, a.closed_at, a.run_id, a.closed_at
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(times)s::timestamptz[], %(runs)s::text[])
    AS a (window_start, window_end, closed_at, run_id)
ON CONFLICT (asset, window_start) DO NOTHING
