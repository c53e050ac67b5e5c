-- The proof of the partitions of a window, as far as their last attempt is one of these runs'. The sub-query "counted"
-- gives the rows and events that are stored, by the partition's start.
UPDATE analytics_partitions AS p
SET closed_at = statement_timestamp(), rows = c.rows, events = c.events, attempts = '{{}}', failure = NULL,
    run_id = %(run_id)s
FROM (
    SELECT o.window_start, {rows} AS rows, {events} AS events
    FROM analytics_partitions AS o
    LEFT JOIN ({counted}) AS counted (window_start, rows, events) USING (window_start)
    WHERE o.asset = %(asset)s AND o.window_start >= %(start)s AND o.window_end <= %(end)s
) AS c
WHERE p.asset = %(asset)s AND p.window_start = c.window_start
  AND p.closed_at IS NULL AND p.run_id = ANY (%(runs)s)
