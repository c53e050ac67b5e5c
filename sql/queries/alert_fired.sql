-- Alerts that fired in a window, of a company or of all and the platform, in the order of their start.
SELECT
    a.rule_id, r.definition ->> 'description', a.severity, a.company_id, a.granularity, a.first_period, a.last_period,
    a.shown, a.threshold, a.opened_at, a.resolved_at, a.resolution
FROM analytics_alerts AS a
JOIN analytics_alert_rules AS r ON r.rule_id = a.rule_id AND r.revision = a.revision
WHERE a.condition = 'firing'
  AND a.first_period < %(end)s
  AND (a.last_period AT TIME ZONE 'UTC' + ('1 ' || a.granularity)::interval) AT TIME ZONE 'UTC' > %(start)s
  AND (%(company)s::text IS NULL OR a.company_id = %(company)s)
ORDER BY a.first_period, a.rule_id, a.company_id NULLS FIRST, a.alert_id
