-- Figures of closed periods for alerts: of companies, all if every_company, and of all together (company_id null).
SELECT
    m.company_id, m.period_start, '[]'::jsonb AS incomplete,
    m.total_users, m.active_users, m.new_users, m.churned_users, m.users_at_start, m.active_before,
    m.churn_rate, m.active_user_rate, m.churn_rate_of_start
FROM analytics_user_metrics AS m
WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
  AND (%(every_company)s OR m.company_id = ANY (%(companies)s))
UNION ALL
SELECT
    t.company_id, t.period_start, '[]',
    t.total_users, t.active_users, t.new_users, t.churned_users, t.users_at_start, t.active_before,
    t.churn_rate, t.active_user_rate, t.churn_rate_of_start
FROM analytics_user_metrics_together(%(granularity)s, %(start)s, %(end)s) AS t
WHERE %(all_companies)s
