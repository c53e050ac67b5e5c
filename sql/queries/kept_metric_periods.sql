-- Closed partitions of a metric that keep figures of other definitions, or in another currency, than today's, because
-- their events have expired.
SELECT
    count(*), min(m.period_start), max(m.period_start),
    array_agg(DISTINCT m.definitions_version ORDER BY m.definitions_version)
FROM analytics_metric_periods AS m
WHERE m.metric = %(metric)s AND m.granularity = %(granularity)s
  AND analytics_is_outdated(m, %(version)s, %(currency)s)
  AND analytics_is_behind_horizon(m, %(horizon)s)
