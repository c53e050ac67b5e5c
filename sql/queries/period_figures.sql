-- The figures of each period of a window, by the functions that define them.
WITH period AS MATERIALIZED (
    SELECT p.period_start, p.period_end, row_number() OVER (ORDER BY p.period_start) AS place
    FROM analytics_periods(%(granularity)s, %(start)s, %(end)s) AS p
)
SELECT
    p.period_start, r.total_revenue, r.invoiced, r.refunds, r.mrr, r.paying_customers,
    r.total_users, u.active_users, u.new_users
FROM period AS p
JOIN analytics_revenue_figures(ARRAY(
    SELECT ROW(%(company)s::text, q.period_start, q.period_end, %(currency)s)::analytics_figure_period
    FROM period AS q
    ORDER BY q.place
)) AS r ON r.place = p.place
JOIN analytics_user_figures(ARRAY(
    SELECT ROW(%(company)s::text, q.period_start, q.period_end, NULL)::analytics_figure_period
    FROM period AS q
    ORDER BY q.place
)) AS u ON u.place = p.place
ORDER BY p.period_start
