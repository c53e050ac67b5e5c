-- Company and time let the server pass over all other chunks and compressed segments: without the company it would unpack
-- a batch of every company, and refuse beyond 100,000 events.
DELETE FROM analytics_events
WHERE company_id = %(company_id)s AND "timestamp" = %(timestamp)s AND event_id = %(event_id)s
