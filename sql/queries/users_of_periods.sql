-- The user answer of periods, in their order; is_empty: nobody was seen before the period's end.
SELECT
    a.total_users, a.active_users, a.new_users, a.churned_users, a.users_at_start, a.active_before,
    a.churn_rate, a.active_user_rate, a.churn_rate_of_start,
    a.seen_users = 0 AS is_empty
FROM analytics_user_answers(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], NULL
)) AS a
ORDER BY a.place
