-- Why an attempt of one of these runs at closing the partitions of a window has failed.
UPDATE analytics_partitions AS p
SET failure = %(failure)s
WHERE p.asset = %(asset)s AND p.window_start >= %(start)s AND p.window_end <= %(end)s
  AND p.closed_at IS NULL AND p.run_id = ANY (%(runs)s)
