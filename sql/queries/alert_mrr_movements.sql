-- Figures of closed periods for alerts: of companies, all if every_company, and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT f.*, jsonb_path_query_array(f.unconverted, '$[*].figure') AS incomplete
FROM (
    SELECT m.* FROM analytics_mrr_movements AS m
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND (%(every_company)s OR m.company_id = ANY (%(companies)s))
    UNION ALL
    SELECT t.* FROM analytics_mrr_movements_together(%(granularity)s, %(start)s, %(end)s) AS t
    WHERE %(all_companies)s
) AS f
