-- The events of a window [start, end) as ingestion reads them: numbers and metadata as texts, with every digit.
SELECT
    e.event_id::text, e."timestamp", e.company_id, e.user_id, e.event_type, e.category, e.value::text, e.currency,
    e.metadata::text
FROM analytics_events AS e
WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
ORDER BY e."timestamp", e.event_id
