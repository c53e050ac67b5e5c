-- The messages of these alerts are in the outbox: of their end if they have one, else of their start.
UPDATE analytics_alerts
SET told_at = coalesce(told_at, now()), end_told_at = CASE WHEN resolved_at IS NOT NULL THEN now() END
WHERE alert_id = ANY (%(alerts)s)
