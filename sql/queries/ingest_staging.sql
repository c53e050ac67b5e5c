-- Where COPY puts a batch before it is inserted, and where events are compared with what is stored. Lives as long as
-- the session, empty between transactions.
CREATE TEMPORARY TABLE IF NOT EXISTS analytics_events_staging (
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
) ON COMMIT DELETE ROWS;
-- An earlier batch of the same transaction may still be there.
TRUNCATE analytics_events_staging;
