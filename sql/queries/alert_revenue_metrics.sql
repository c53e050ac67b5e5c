-- Figures of closed periods for alerts: of companies, all if every_company, and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT
    f.company_id, f.period_start, jsonb_path_query_array(f.unconverted, '$[*].figure') AS incomplete,
    f.total_revenue, f.previous_revenue, f.revenue_growth, f.invoiced, f.refunds, f.mrr, f.arr,
    f.paying_customers, f.arpa, f.average_revenue_per_user
FROM (
    SELECT m.* FROM analytics_revenue_metrics AS m
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND (%(every_company)s OR m.company_id = ANY (%(companies)s))
    UNION ALL
    SELECT t.* FROM analytics_revenue_metrics_together(%(granularity)s, %(start)s, %(end)s) AS t
    WHERE %(all_companies)s
) AS f
