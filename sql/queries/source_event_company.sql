-- Whose event it is, so that it can be deleted by company (source_delete_event.sql).
SELECT company_id FROM analytics_events WHERE event_id = %(event_id)s AND "timestamp" = %(timestamp)s
