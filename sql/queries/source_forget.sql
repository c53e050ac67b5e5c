DELETE FROM analytics_source_events WHERE event_id = %(event_id)s RETURNING "timestamp"
