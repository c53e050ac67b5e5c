-- Events as they were recorded, to say how the ERP's row differs; the times let the server pass over other chunks.
SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata::text
FROM analytics_events
WHERE event_id = ANY(%(event_ids)s) AND "timestamp" = ANY(%(timestamps)s)
