-- Closed periods of user_metrics, of each company or (each false) of all that are asked for together.
SELECT u.company_id, u.period_start, u.total_users, u.active_users, u.new_users, u.churned_users
FROM analytics_user_metrics AS u
WHERE %(each)s AND u.granularity = %(granularity)s AND u.period_start = ANY (%(starts)s::timestamptz[])
  AND (%(company)s::text IS NULL OR u.company_id = %(company)s)
UNION ALL
SELECT t.company_id, t.period_start, t.total_users, t.active_users, t.new_users, t.churned_users
FROM analytics_user_metrics_together(
    %(granularity)s,
    (SELECT min(s) FROM unnest(%(starts)s::timestamptz[]) AS s),
    (SELECT max(s) + interval '1 microsecond' FROM unnest(%(starts)s::timestamptz[]) AS s)
) AS t
WHERE NOT %(each)s AND t.period_start = ANY (%(starts)s::timestamptz[])
