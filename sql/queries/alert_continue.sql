-- An alert goes on: it is now as of this period and this revision of its rule.
UPDATE analytics_alerts AS a
SET revision = %(revision)s, severity = %(severity)s, last_period = greatest(a.last_period, %(period)s),
    value = %(value)s, shown = %(shown)s, threshold = %(threshold)s
WHERE a.alert_id = %(alert)s
  AND (a.revision, a.severity, a.last_period, a.value, a.shown, a.threshold) IS DISTINCT FROM
      (%(revision)s::integer, %(severity)s::text, greatest(a.last_period, %(period)s), %(value)s::numeric,
       %(shown)s::text, %(threshold)s::text)
