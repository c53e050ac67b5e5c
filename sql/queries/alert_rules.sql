-- The rules in force.
SELECT r.definition, r.revision, r.sha256, r.loaded_at
FROM analytics_alert_rules AS r
WHERE r.active
ORDER BY r.rule_id
