-- The user answer of a period, of each company or (each false) of all that are asked for together.
SELECT
    s.company_id,
    s.total_users, s.active_users, s.new_users, s.churned_users, s.users_at_start, s.active_before,
    analytics_percentage(s.churned_users, s.total_users),
    analytics_percentage(s.active_users, s.total_users),
    analytics_percentage(s.churned_of_before, s.active_before)
FROM (
    SELECT
        CASE WHEN %(each)s THEN u.company_id END AS company_id,
        sum(u.total_users)::bigint AS total_users,
        sum(u.active_users)::bigint AS active_users,
        sum(u.new_users)::bigint AS new_users,
        sum(u.churned_users)::bigint AS churned_users,
        sum(u.users_at_start)::bigint AS users_at_start,
        sum(u.active_before)::bigint AS active_before,
        sum(u.churned_of_before)::bigint AS churned_of_before
    FROM analytics_user_metrics_by_company(%(company)s, %(start)s, %(end)s) AS u
    GROUP BY 1
) AS s
