COPY analytics_events (
    event_id, "timestamp", company_id, user_id, event_type, category, value, currency, metadata
) FROM STDIN (FORMAT binary)
