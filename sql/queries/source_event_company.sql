-- Whose event it is. Reading needs no limit; deleting does (source_delete_event.sql).
SELECT company_id FROM analytics_events WHERE event_id = %(event_id)s AND "timestamp" = %(timestamp)s
