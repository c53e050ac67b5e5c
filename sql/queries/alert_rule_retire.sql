UPDATE analytics_alert_rules SET retired_at = now() WHERE rule_id = %(rule)s AND active
