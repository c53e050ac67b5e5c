-- Closed periods of mrr_movements, of each company or (each false) of all that are asked for together; last whether
-- amounts are left out for want of a rate.
SELECT
    r.company_id, r.period_start,
    r.start_mrr, r.new, r.reactivation, r.expansion, r.contraction, r.churn, r.fx, r.end_mrr,
    r.unconverted <> '[]'
FROM (
    SELECT m.* FROM analytics_mrr_movements AS m
    WHERE %(each)s AND m.granularity = %(granularity)s AND m.period_start = ANY (%(starts)s::timestamptz[])
      AND (%(company)s::text IS NULL OR m.company_id = %(company)s)
    UNION ALL
    SELECT t.*
    FROM analytics_mrr_movements_together(
        %(granularity)s,
        (SELECT min(s) FROM unnest(%(starts)s::timestamptz[]) AS s),
        (SELECT max(s) + interval '1 microsecond' FROM unnest(%(starts)s::timestamptz[]) AS s)
    ) AS t
    WHERE NOT %(each)s AND t.period_start = ANY (%(starts)s::timestamptz[])
) AS r
WHERE r.currency = %(currency)s
