-- Closed periods of revenue_metrics, of each company or (each false) of all that are asked for together;
-- last the figures that lack amounts without a rate.
SELECT
    CASE WHEN %(each)s THEN r.company_id END,
    r.period_start,
    sum(r.total_revenue),
    analytics_growth(
        sum(r.total_revenue), sum(r.previous_revenue),
        bool_and(NOT (
            jsonb_path_exists(
                r.unconverted, '$[*].figure ? (@ == "totalRevenue" || @ == "refunds" || @ == "revenueGrowth")'
            )
        ))
    ),
    sum(r.invoiced), sum(r.refunds), sum(r.mrr), sum(r.paying_customers)::bigint,
    jsonb_path_query_array(jsonb_agg(r.unconverted), '$[*][*].figure')
FROM analytics_revenue_metrics AS r
WHERE r.granularity = %(granularity)s
  AND r.period_start = ANY (%(starts)s::timestamptz[])
  AND r.currency = %(currency)s
  AND (%(company)s::text IS NULL OR r.company_id = %(company)s)
GROUP BY 1, 2
