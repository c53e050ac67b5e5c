-- Closed periods of revenue_metrics, of each company or (each false) of all that are asked for together;
-- last the figures that lack amounts without a rate.
SELECT
    r.company_id, r.period_start, r.total_revenue, r.revenue_growth, r.invoiced, r.refunds, r.mrr, r.paying_customers,
    jsonb_path_query_array(r.unconverted, '$[*].figure')
FROM (
    SELECT m.* FROM analytics_revenue_metrics AS m
    WHERE %(each)s AND m.granularity = %(granularity)s AND m.period_start = ANY (%(starts)s::timestamptz[])
      AND (%(company)s::text IS NULL OR m.company_id = %(company)s)
    UNION ALL
    SELECT t.*
    FROM analytics_revenue_metrics_together(
        %(granularity)s,
        (SELECT min(s) FROM unnest(%(starts)s::timestamptz[]) AS s),
        (SELECT max(s) + interval '1 microsecond' FROM unnest(%(starts)s::timestamptz[]) AS s)
    ) AS t
    WHERE NOT %(each)s AND t.period_start = ANY (%(starts)s::timestamptz[])
) AS r
WHERE r.currency = %(currency)s
