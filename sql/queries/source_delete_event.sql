-- Company and time let the server pass over all other chunks and compressed segments.
DELETE FROM analytics_events
WHERE company_id = %(company_id)s AND "timestamp" = %(timestamp)s AND event_id = %(event_id)s
