-- The closed periods of a metric in a span, with their reporting currency.
SELECT p.period_start, p.currency
FROM analytics_metric_periods AS p
WHERE p.metric = %(metric)s AND p.granularity = %(granularity)s
  AND p.period_start >= %(start)s AND p.period_start < %(end)s
