-- A new revision of a rule comes into force.
INSERT INTO analytics_alert_rules (rule_id, revision, definition, sha256)
SELECT %(rule)s, coalesce(max(r.revision), 0) + 1, %(definition)s, %(sha256)s
FROM analytics_alert_rules AS r
WHERE r.rule_id = %(rule)s
