-- name: sample_arrivals
-- Lets the events of a month have come in as they say; none after now.
UPDATE analytics_events AS e
SET ingested_at = least(coalesce((e.metadata ->> %(arrived_at)s)::timestamptz, e."timestamp"), now())
WHERE e.company_id = ANY (%(companies)s::text[])
  AND e."timestamp" >= %(month_start)s AND e."timestamp" < %(month_end)s AND e.ingested_at >= %(end)s


-- name: sample_undated
-- The months of a span with events that came in after its end, and not as they say.
SELECT DISTINCT date_trunc('month', e."timestamp", 'UTC')
FROM analytics_events AS e
WHERE e.company_id = ANY (%(companies)s::text[])
  AND e."timestamp" >= %(start)s AND e."timestamp" < %(end)s AND e.ingested_at >= %(end)s
  AND e.ingested_at <> least(coalesce((e.metadata ->> %(arrived_at)s)::timestamptz, e."timestamp"), now())
ORDER BY 1
