-- Changes of users, subscriptions and rates that closed figures of a period have not seen, but those that keep theirs
-- since their events have expired; without a company they concern every one.
SELECT DISTINCT c.company_id, c.cause
FROM analytics_metric_changes AS c
JOIN analytics_metric_periods AS m ON analytics_is_stale(m, c)
WHERE m.period_start < %(end)s AND m.period_end > %(start)s AND NOT analytics_is_kept(m, %(horizon)s)
  AND (%(company)s::text IS NULL OR c.company_id IS NULL OR c.company_id = %(company)s)
ORDER BY 2
