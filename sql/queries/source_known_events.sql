SELECT event_id, "timestamp", content
FROM analytics_source_events
WHERE event_id = ANY(%(event_ids)s)
