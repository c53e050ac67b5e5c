-- Staged events of a stretch of time that are not what is stored under their id and instant, with what is. An event
-- that is not stored under its own company is another company's: then nothing of it is returned. Ids that are stored in
-- another normal form of Unicode than C, as they came before there was one, are the same ids.
SELECT
    s.position, e.company_id,
    e.user_id, e.event_type, e.category, e.value, e.currency, e.metadata::text
FROM (
    SELECT * FROM analytics_events_staging WHERE "timestamp" >= %(first)s AND "timestamp" <= %(last)s
) AS s
-- FULL, and below a condition that doesn't turn it into LEFT: the server knows nothing of the staged events and little of
-- a chunk that has just been filled, takes both for a few rows, and would compare each with each. So it hashes.
FULL JOIN (
    SELECT *
    FROM analytics_events
    -- The staged events' own bounds: chunks and compressed segments outside of them are not opened.
    WHERE "timestamp" >= %(first)s AND "timestamp" <= %(last)s
      AND (%(companies)s::text[] IS NULL OR company_id = ANY (%(companies)s::text[]))
) AS e ON e.event_id = s.event_id AND e."timestamp" = s."timestamp" AND normalize(e.company_id) = s.company_id
WHERE coalesce(s.position, -1) >= 0
  -- By meaning: 120.0 is 120.00, and the keys of metadata have no order.
  AND (normalize(e.company_id), normalize(e.user_id), e.event_type, e.category, e.value, e.currency, e.metadata)
      IS DISTINCT FROM
      (s.company_id, s.user_id, s.event_type, s.category, s.value, s.currency, s.metadata::jsonb)
ORDER BY s.position
