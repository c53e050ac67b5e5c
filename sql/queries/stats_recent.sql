-- What came in lately: events by when they happened, records rejected by when they were, hours counted from their start.
SELECT
    p.period,
    (SELECT coalesce(sum(i.events), 0)::bigint FROM analytics_operations_ingestion AS i WHERE i.hour > now() - p.age)
        AS events,
    (SELECT coalesce(sum(r.records), 0)::bigint FROM analytics_operations_rejects AS r WHERE r.hour > now() - p.age)
        AS rejected
FROM (
    VALUES
        ('last day', interval '1 day'), ('last 7 days', interval '7 days'), ('last 30 days', interval '30 days')
) AS p (period, age)
ORDER BY p.age
