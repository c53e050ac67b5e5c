-- The user answer of some periods, of each company or (each false) of all that are asked for together.
SELECT
    a.period_start, a.company_id,
    a.total_users, a.active_users, a.new_users, a.churned_users, a.users_at_start, a.active_before,
    a.churn_rate, a.active_user_rate, a.churn_rate_of_start
FROM analytics_user_answers(
    CASE
        WHEN %(each)s THEN analytics_user_periods(
            %(company)s, %(starts)s::timestamptz[], %(ends)s::timestamptz[]
        )
        ELSE ARRAY(
            SELECT ROW(%(company)s::text, p.period_start, p.period_end, NULL)::analytics_figure_period
            FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS p (period_start, period_end)
        )
    END
) AS a
WHERE a.seen_users > 0
