-- In the order of the file: of two records of one batch with the same key the first is stored.
INSERT INTO analytics_events (
    event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
)
SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata::jsonb
FROM analytics_events_staging
ON CONFLICT (event_id, "timestamp") DO NOTHING
