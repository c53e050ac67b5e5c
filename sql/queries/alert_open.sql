-- An alert begins; no row: somebody else has just begun it.
INSERT INTO analytics_alerts (
    rule_id, revision, company_id, granularity, condition, severity, first_period, last_period, value, shown, threshold
)
VALUES (
    %(rule)s, %(revision)s, %(company)s, %(granularity)s, %(condition)s, %(severity)s, %(period)s, %(period)s,
    %(value)s, %(shown)s, %(threshold)s
)
ON CONFLICT (rule_id, company_id, condition) WHERE resolved_at IS NULL DO NOTHING
RETURNING
    alert_id, rule_id, revision, company_id, granularity, condition, first_period, last_period, value, shown,
    threshold, severity, opened_at, told_at
