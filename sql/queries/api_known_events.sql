-- Which of some events are stored, by id and instant.
SELECT e.event_id, e."timestamp"
FROM unnest(%(ids)s::uuid[], %(instants)s::timestamptz[]) AS k (event_id, instant)
JOIN analytics_events AS e ON e.event_id = k.event_id AND e."timestamp" = k.instant
WHERE e."timestamp" >= %(first)s AND e."timestamp" <= %(last)s
