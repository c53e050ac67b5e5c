-- The revenue figures of periods, in their order.
SELECT
    f.total_revenue, f.mrr, f.arr, f.average_revenue_per_user, f.revenue_growth,
    f.invoiced, f.refunds, f.paying_customers, f.arpa, f.total_users,
    f.unconverted::text, f.is_empty
FROM analytics_revenue_figures(ARRAY(
    SELECT ROW(w.company_id, w.period_start, w.period_end, %(currency)s)::analytics_figure_period
    FROM unnest(%(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        WITH ORDINALITY AS w (company_id, period_start, period_end, place)
    ORDER BY w.place
)) AS f
ORDER BY f.place
