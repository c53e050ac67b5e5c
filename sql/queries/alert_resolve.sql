UPDATE analytics_alerts
SET resolved_at = now(), resolution = %(resolution)s
WHERE alert_id = %(alert)s
