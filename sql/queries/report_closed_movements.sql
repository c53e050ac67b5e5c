-- MRR at the start of closed periods, of each company or (each false) of all that are asked for together.
SELECT CASE WHEN %(each)s THEN m.company_id END, m.period_start, sum(m.start_mrr)
FROM analytics_mrr_movements AS m
WHERE m.granularity = %(granularity)s
  AND m.period_start = ANY (%(starts)s::timestamptz[])
  AND m.currency = %(currency)s
  AND (%(company)s::text IS NULL OR m.company_id = %(company)s)
GROUP BY 1, 2
