-- Closed periods of user_metrics, of each company or (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN u.company_id END,
    u.period_start,
    sum(u.total_users)::bigint, sum(u.active_users)::bigint, sum(u.new_users)::bigint, sum(u.churned_users)::bigint
FROM analytics_user_metrics AS u
WHERE u.granularity = %(granularity)s
  AND u.period_start = ANY (%(starts)s::timestamptz[])
  AND (%(company)s::text IS NULL OR u.company_id = %(company)s)
GROUP BY 1, 2
