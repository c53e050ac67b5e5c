-- Which metrics have no closed period there that follows today's definitions, or keeps its figures since its events have
-- expired.
SELECT w.metric
FROM unnest(%(metrics)s::text[]) WITH ORDINALITY AS w (metric, place)
WHERE NOT EXISTS (
    SELECT
    FROM analytics_metric_periods AS m
    WHERE m.metric = w.metric AND m.granularity = %(granularity)s AND m.period_start = %(start)s
      AND (m.definitions_version = %(version)s OR analytics_is_behind_horizon(m, %(horizon)s))
)
ORDER BY w.place
