-- The most frequent event types of whole days and the number of all events, of each company or (each false) of all
-- that are asked for together.
SELECT e.company_id, e.event_type, e.category, e.events, e.all_events
FROM (
    SELECT
        v.*,
        row_number() OVER (PARTITION BY v.company_id ORDER BY v.events DESC, v.event_type, v.category) AS place,
        sum(v.events) OVER (PARTITION BY v.company_id)::bigint AS all_events
    FROM (
        SELECT
            CASE WHEN %(each)s THEN h.company_id END AS company_id,
            h.event_type, h.category, sum(h.event_count)::bigint AS events
        FROM analytics_event_volume_hourly AS h
        WHERE h.bucket >= %(start)s AND h.bucket < %(end)s
          AND (%(company)s::text IS NULL OR h.company_id = %(company)s)
        GROUP BY 1, 2, 3
    ) AS v
) AS e
WHERE e.place <= %(most)s
ORDER BY e.place
