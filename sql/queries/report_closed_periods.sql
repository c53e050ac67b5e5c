-- Closed periods of the metric tables that, where they convert, are in the reporting currency: by which version of the
-- definitions, and whether their figures stand. Those of today's definitions do if they have seen every change, and are
-- then what the functions give; those of another version if their events have expired.
SELECT
    m.metric, m.period_start, m.definitions_version,
    CASE
        WHEN m.definitions_version = %(version)s
        THEN NOT EXISTS (SELECT FROM analytics_metric_changes AS c WHERE analytics_is_stale(m, c))
        ELSE analytics_is_behind_horizon(m, %(horizon)s)
    END
FROM analytics_metric_periods AS m
WHERE m.granularity = %(granularity)s
  AND m.period_start >= %(start)s AND m.period_end <= %(end)s
  AND (m.currency = %(currency)s OR m.metric <> ALL (%(converting)s))
