-- The revenue answer of some periods, of each company or (each false) of all that are asked for together. The periods
-- come in as a list of values: a single one is planned for as a constant, several are planned for once.
SELECT
    s.period_start, s.company_id,
    s.total_revenue, s.mrr, 12 * s.mrr,
    CASE WHEN s.is_revenue_converted THEN analytics_ratio(s.total_revenue, s.total_users) END,
    analytics_growth(s.total_revenue, s.previous_revenue, s.is_comparable),
    s.invoiced, s.refunds, s.paying_customers,
    CASE WHEN s.is_mrr_converted THEN analytics_ratio(s.mrr, s.paying_customers) END,
    s.total_users,
    s.is_converted
FROM (
    SELECT
        p.period_start,
        CASE WHEN %(each)s THEN c.company_id END AS company_id,
        sum(c.total_revenue) AS total_revenue,
        sum(c.previous_revenue) AS previous_revenue,
        bool_and(c.is_revenue_converted) AS is_revenue_converted,
        bool_and(c.is_comparable) AS is_comparable,
        bool_and(c.is_mrr_converted) AS is_mrr_converted,
        sum(c.invoiced) AS invoiced,
        sum(c.refunds) AS refunds,
        sum(c.mrr) AS mrr,
        sum(c.paying_customers)::bigint AS paying_customers,
        sum(c.total_users)::bigint AS total_users,
        bool_and(c.is_converted) AS is_converted
    FROM (VALUES {periods}) AS p (period_start, period_end)
    CROSS JOIN LATERAL analytics_revenue_metrics_by_company(
        %(company)s, p.period_start, p.period_end, %(currency)s
    ) AS c
    GROUP BY 1, 2
) AS s
