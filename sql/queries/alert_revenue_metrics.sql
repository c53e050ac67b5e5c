-- Figures of closed periods for alerts: of companies, all if every_company, and of all together (company_id null).
-- incomplete: what they are made from that lacks a rate of exchange.
SELECT
    m.company_id, m.period_start, jsonb_path_query_array(m.unconverted, '$[*].figure') AS incomplete,
    m.total_revenue, m.previous_revenue, m.revenue_growth, m.invoiced, m.refunds, m.mrr, m.arr,
    m.paying_customers, m.arpa, m.average_revenue_per_user
FROM analytics_revenue_metrics AS m
WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
  AND (%(every_company)s OR m.company_id = ANY (%(companies)s))
UNION ALL
SELECT
    NULL, s.period_start, s.incomplete,
    s.total_revenue, s.previous_revenue, analytics_growth(s.total_revenue, s.previous_revenue, true),
    s.invoiced, s.refunds, s.mrr, s.arr,
    s.paying_customers, analytics_ratio(s.mrr, s.paying_customers), analytics_ratio(s.total_revenue, s.total_users)
FROM (
    SELECT
        m.period_start,
        jsonb_path_query_array(jsonb_agg(m.unconverted), '$[*][*].figure') AS incomplete,
        sum(m.total_revenue) AS total_revenue, sum(m.previous_revenue) AS previous_revenue,
        sum(m.invoiced) AS invoiced, sum(m.refunds) AS refunds, sum(m.mrr) AS mrr, sum(m.arr) AS arr,
        sum(m.paying_customers)::bigint AS paying_customers, sum(m.total_users)::bigint AS total_users
    FROM analytics_revenue_metrics AS m
    WHERE m.granularity = %(granularity)s AND m.period_start >= %(start)s AND m.period_start < %(end)s
      AND %(all_companies)s
    GROUP BY m.period_start
) AS s
