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
    r.churn_rate, r.active_user_rate, r.churn_rate_of_start
FROM (
    SELECT
        m.period_start,
        sum(m.total_users)::bigint AS total_users, sum(m.active_users)::bigint AS active_users,
        sum(m.new_users)::bigint AS new_users, sum(m.churned_users)::bigint AS churned_users,
        sum(m.users_at_start)::bigint AS users_at_start, sum(m.active_before)::bigint AS active_before,
        -- Not stored yet of a period that has not been closed again since it is stored.
        CASE WHEN count(*) = count(m.churned_of_start) THEN sum(m.churned_of_start) END AS churned_of_start
    FROM analytics_user_metrics AS m
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND %(all_companies)s
    GROUP BY m.period_start
) AS s
CROSS JOIN LATERAL analytics_user_rates(
    s.total_users, s.active_users, s.churned_users, s.active_before, s.churned_of_start
) AS r
