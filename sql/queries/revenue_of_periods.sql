-- The revenue figures of periods, in their order.
SELECT
    f.total_revenue, f.mrr, f.arr, f.average_revenue_per_user, f.revenue_growth,
    f.invoiced, f.refunds, f.paying_customers, f.arpa, f.total_users,
    f.unconverted::text, f.is_empty
FROM analytics_revenue_figures(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s
)) AS f
ORDER BY f.place
