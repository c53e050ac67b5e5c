-- The user answer of some periods, of each company or (each false) of all that are asked for together; see
-- report_revenue.sql for the periods.
SELECT
    s.period_start, s.company_id,
    s.total_users, s.active_users, s.new_users, s.churned_users, s.users_at_start, s.active_before,
    analytics_percentage(s.churned_users, s.total_users),
    analytics_percentage(s.active_users, s.total_users),
    analytics_percentage(s.churned_of_before, s.active_before)
FROM (
    SELECT
        p.period_start,
        CASE WHEN %(each)s THEN u.company_id END AS company_id,
        sum(u.total_users)::bigint AS total_users,
        sum(u.active_users)::bigint AS active_users,
        sum(u.new_users)::bigint AS new_users,
        sum(u.churned_users)::bigint AS churned_users,
        sum(u.users_at_start)::bigint AS users_at_start,
        sum(u.active_before)::bigint AS active_before,
        sum(u.churned_of_before)::bigint AS churned_of_before
    FROM (VALUES {periods}) AS p (period_start, period_end)
    CROSS JOIN LATERAL analytics_user_metrics_by_company(%(company)s, p.period_start, p.period_end) AS u
    GROUP BY 1, 2
) AS s
