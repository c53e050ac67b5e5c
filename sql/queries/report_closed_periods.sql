-- Closed periods of the metric tables that follow today's definitions and, where they convert, are in the reporting
-- currency, and whether they have seen every change they stand on: then their figures are those the functions give.
SELECT
    m.metric, m.period_start,
    NOT EXISTS (SELECT FROM analytics_metric_changes AS c WHERE analytics_is_stale(m, c))
FROM analytics_metric_periods AS m
WHERE m.granularity = %(granularity)s
  AND m.period_start >= %(start)s AND m.period_end <= %(end)s
  AND m.definitions_version = %(version)s
  AND (m.currency = %(currency)s OR m.metric <> ALL (%(converting)s))
