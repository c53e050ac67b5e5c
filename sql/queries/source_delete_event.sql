-- The time is part of the key, and lets the server pass over all other chunks.
DELETE FROM analytics_events WHERE event_id = %(event_id)s AND "timestamp" = %(timestamp)s
