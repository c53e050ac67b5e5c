-- Events behind the retention horizon that came in after their hour was closed, within half-open stretches that have
-- changed: they are in no figure, and can't get into any.
SELECT count(*), min(e."timestamp"), max(e."timestamp")
FROM unnest(%(lows)s::timestamptz[], %(highs)s::timestamptz[]) AS s (low, high)
JOIN analytics_events AS e ON e."timestamp" >= s.low AND e."timestamp" < s.high
JOIN analytics_partitions AS p
    ON p.asset = %(asset)s AND p.window_start = date_trunc('hour', e."timestamp", 'UTC') AND p.closed_at < e.ingested_at
WHERE e."timestamp" < %(horizon)s
