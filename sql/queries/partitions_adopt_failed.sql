-- Partitions that a failed run had left before there was a record of them here; whatever is known here stays as it is.
INSERT INTO analytics_partitions (asset, window_start, window_end, attempts, failure, run_id, attempted_at)
SELECT %(asset)s, s, s + %(width)s::interval, %(attempts)s::text[], %(failure)s, %(run_id)s, %(attempted_at)s
FROM generate_series(
    %(start)s::timestamptz, %(end)s::timestamptz - interval '1 microsecond', %(width)s::interval
) AS s
ON CONFLICT (asset, window_start) DO NOTHING
