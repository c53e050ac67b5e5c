INSERT INTO analytics_source_events (event_id, "timestamp", content)
SELECT * FROM unnest(%(event_ids)s::uuid[], %(timestamps)s::timestamptz[], %(contents)s::uuid[])
ON CONFLICT (event_id) DO NOTHING
