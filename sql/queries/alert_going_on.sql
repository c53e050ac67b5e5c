-- Alerts that go on, of the rules named.
SELECT
    a.alert_id, a.rule_id, a.revision, a.company_id, a.granularity, a.condition, a.first_period, a.last_period,
    a.value, a.shown, a.threshold, a.severity, a.opened_at, a.told_at
FROM analytics_alerts AS a
WHERE a.resolved_at IS NULL AND (%(rules)s::text[] IS NULL OR a.rule_id = ANY (%(rules)s))
ORDER BY a.rule_id, a.company_id NULLS FIRST, a.condition
