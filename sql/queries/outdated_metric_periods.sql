-- Closed partitions of a metric that follow other definitions, or are in another currency, than wanted.
SELECT count(*), min(period_start), max(period_start)
FROM analytics_metric_periods
WHERE metric = %(metric)s AND granularity = %(granularity)s
  AND (definitions_version <> %(version)s OR currency IS DISTINCT FROM %(currency)s)
