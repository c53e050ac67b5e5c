-- MRR at the start and the end of periods and what moved it, in their order.
SELECT
    f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction, f.churn, f.fx, f.end_mrr,
    f.gross_mrr_churn_rate, f.net_mrr_churn_rate, f.gross_revenue_retention, f.net_revenue_retention, f.quick_ratio,
    f.new_customers, f.returned_customers, f.lost_customers, f.customer_churn_rate, f.arpa_growth, f.lifetime_value,
    f.total_revenue_year_over_year, f.mrr_year_over_year,
    f.unconverted::text, f.is_empty
FROM analytics_mrr_figures(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s
)) AS f
ORDER BY f.place
