-- Which types of events came lately, in which categories; from the aggregate, which knows all of them.
SELECT category, event_type, sum(event_count)::bigint, min(bucket), max(bucket)
FROM analytics_event_volume_hourly
WHERE bucket >= now() - %(look_back)s::interval
GROUP BY category, event_type
ORDER BY category, event_type
