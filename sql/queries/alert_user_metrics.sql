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
    NULL, s.period_start, '[]',
    s.total_users, s.active_users, s.new_users, s.churned_users, s.users_at_start, s.active_before,
    analytics_percentage(s.churned_users, s.total_users), analytics_percentage(s.active_users, s.total_users),
    analytics_percentage(s.churned_of_before, s.active_before)
FROM (
    SELECT
        m.period_start,
        sum(m.total_users)::bigint AS total_users, sum(m.active_users)::bigint AS active_users,
        sum(m.new_users)::bigint AS new_users, sum(m.churned_users)::bigint AS churned_users,
        sum(m.users_at_start)::bigint AS users_at_start, sum(m.active_before)::bigint AS active_before,
        -- How many they were stands in their rate alone.
        coalesce(sum(round(m.churn_rate_of_start * m.active_before / 100)), 0) AS churned_of_before
    FROM analytics_user_metrics AS m
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND %(all_companies)s
    GROUP BY m.period_start
) AS s
