-- An attempt at closing the partitions of a window: they are not closed until their proof is recorded. A step that is
-- repeated in its run is the same attempt.
INSERT INTO analytics_partitions AS p (asset, window_start, window_end, attempts, run_id, attempted_at)
SELECT %(asset)s, s, s + %(width)s::interval, ARRAY[%(run_id)s::text], %(run_id)s, statement_timestamp()
FROM generate_series(
    %(start)s::timestamptz, %(end)s::timestamptz - interval '1 microsecond', %(width)s::interval
) AS s
ON CONFLICT (asset, window_start) DO UPDATE
    SET closed_at = NULL, rows = NULL, events = NULL, failure = NULL,
        attempts = array_remove(p.attempts, excluded.run_id) || excluded.run_id,
        run_id = excluded.run_id, attempted_at = excluded.attempted_at
