-- Figures of closed periods for alerts: of companies, all if every_company, and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT
    m.company_id, m.period_start, jsonb_path_query_array(m.unconverted, '$[*].figure') AS incomplete,
    m.start_mrr, m.new, m.reactivation, m.expansion, m.contraction, m.churn, m.fx, m.end_mrr
FROM analytics_mrr_movements AS m
WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
  AND (%(every_company)s OR m.company_id = ANY (%(companies)s))
UNION ALL
SELECT
    NULL, m.period_start, jsonb_path_query_array(jsonb_agg(m.unconverted), '$[*][*].figure'),
    sum(m.start_mrr), sum(m.new), sum(m.reactivation), sum(m.expansion), sum(m.contraction), sum(m.churn),
    sum(m.fx), sum(m.end_mrr)
FROM analytics_mrr_movements AS m
WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
  AND %(all_companies)s
GROUP BY m.period_start
