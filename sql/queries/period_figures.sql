-- The figures of each period of a window, by the functions that define them.
WITH period AS MATERIALIZED (
    SELECT ARRAY(
        SELECT ROW(%(company)s, p.period_start, p.period_end, %(currency)s)::analytics_figure_period
        FROM analytics_periods(%(granularity)s, %(start)s, %(end)s) AS p
        ORDER BY p.period_start
    ) AS periods
)
-- A column of several is that of the last: what follows from the movements has revenue and MRR for itself.
SELECT m.*, f.*, u.active_users, u.new_users, f.period_start AS start
FROM period AS p
CROSS JOIN LATERAL analytics_revenue_figures(p.periods) AS f
JOIN LATERAL analytics_mrr_figures(p.periods) AS m ON m.place = f.place
JOIN LATERAL analytics_user_figures(p.periods) AS u ON u.place = f.place
ORDER BY f.place
