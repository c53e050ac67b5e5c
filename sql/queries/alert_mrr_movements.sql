-- Figures of closed periods for alerts: of companies, all if every_company, and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT
    f.company_id, f.period_start, jsonb_path_query_array(f.unconverted, '$[*].figure') AS incomplete,
    f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction, f.churn, f.fx, f.end_mrr,
    f.new_customers, f.returned_customers, f.lost_customers,
    f.gross_mrr_churn_rate, f.net_mrr_churn_rate, f.gross_revenue_retention, f.net_revenue_retention, f.quick_ratio,
    f.customer_churn_rate, f.arpa_growth, f.lifetime_value, f.total_revenue_year_over_year, f.mrr_year_over_year
FROM (
    SELECT m.* FROM analytics_mrr_movements AS m
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND (%(every_company)s OR m.company_id = ANY (%(companies)s))
    UNION ALL
    SELECT t.* FROM analytics_mrr_movements_together(%(granularity)s, %(start)s, %(end)s) AS t
    WHERE %(all_companies)s
) AS f
