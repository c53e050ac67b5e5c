-- The figures of each period of a window, by the functions that define them.
SELECT
    p.period_start, r.total_revenue, r.invoiced, r.refunds, r.mrr, r.paying_customers,
    r.total_users, u.active_users, u.new_users
FROM analytics_periods(%(granularity)s, %(start)s, %(end)s) AS p
CROSS JOIN LATERAL analytics_revenue_metrics(%(company)s, p.period_start, p.period_end, %(currency)s) AS r
CROSS JOIN LATERAL analytics_user_metrics(%(company)s, p.period_start, p.period_end) AS u
ORDER BY p.period_start
