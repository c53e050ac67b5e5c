-- The closed periods of a metric in a span: their reporting currency, the version of the definitions they follow, and
-- whether nothing but other definitions has changed them since they were judged last.
SELECT p.period_start, p.currency, p.definitions_version, p.restated_from IS NOT NULL
FROM analytics_metric_periods AS p
WHERE p.metric = %(metric)s AND p.granularity = %(granularity)s
  AND p.period_start >= %(start)s AND p.period_start < %(end)s
