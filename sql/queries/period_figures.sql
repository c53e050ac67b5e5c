-- The figures of each period of a window, by the functions that define them.
WITH period AS MATERIALIZED (
    SELECT ARRAY(
        SELECT ROW(%(company)s, p.period_start, p.period_end, %(currency)s)::analytics_figure_period
        FROM analytics_periods(%(granularity)s, %(start)s, %(end)s) AS p
        ORDER BY p.period_start
    ) AS periods
)
SELECT
    f.period_start, f.total_revenue, f.invoiced, f.refunds, f.mrr, f.paying_customers,
    f.total_users, u.active_users, u.new_users,
    m.gross_mrr_churn_rate, m.net_mrr_churn_rate, m.gross_revenue_retention, m.net_revenue_retention, m.quick_ratio,
    m.new_customers, m.returned_customers, m.lost_customers, m.customer_churn_rate, m.arpa_growth, m.lifetime_value,
    m.total_revenue_year_over_year, m.mrr_year_over_year
FROM period AS p
CROSS JOIN LATERAL analytics_revenue_figures(p.periods) AS f
JOIN LATERAL analytics_mrr_figures(p.periods) AS m ON m.place = f.place
JOIN LATERAL analytics_user_figures(p.periods) AS u ON u.place = f.place
ORDER BY f.place
