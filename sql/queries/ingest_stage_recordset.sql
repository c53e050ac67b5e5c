-- Events to compare with what is stored, where COPY FROM STDIN is refused or isn't worth its round trips.
INSERT INTO analytics_events_staging (
    position, event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
)
SELECT position, event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
FROM jsonb_to_recordset(%s::jsonb) AS event (
    position    integer,
    event_id    uuid,
    "timestamp" timestamptz,
    company_id  text,
    user_id     text,
    event_type  text,
    category    text,
    value       numeric,
    currency    text,
    metadata    text
)
