-- One statement for a whole batch where COPY FROM STDIN is refused, or where it isn't worth its round trips.
INSERT INTO analytics_events (
    event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
)
SELECT event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
FROM jsonb_to_recordset(%s::jsonb) AS event (
    event_id    uuid,
    "timestamp" timestamptz,
    company_id  text,
    user_id     text,
    event_type  text,
    category    text,
    value       numeric,
    currency    text,
    metadata    jsonb
)
ON CONFLICT (event_id, "timestamp") DO NOTHING
