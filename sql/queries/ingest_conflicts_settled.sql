-- What was sent is stored now, or a later record of its event is, whatever was stored when it was sent first.
UPDATE analytics_event_conflicts
SET outcome = 'replaced', decided_at = now()
WHERE event_id = %(event_id)s AND "timestamp" = %(timestamp)s AND outcome = 'open' AND sent = %(sent)s::jsonb
