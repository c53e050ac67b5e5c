-- Records turned away in a period (by arrival) and the kinds of reasons, of each company that a record names or
-- (each false) of all that are asked for together.
SELECT
    CASE WHEN %(each)s THEN r.company_id END, coalesce(r.kind, 'kept by an earlier version, without a kind'),
    sum(r.records)::bigint
FROM (
    SELECT i.company_id, i.kind, 1 AS records
    FROM analytics_ingest_rejects AS i
    WHERE i.rejected_at >= %(start)s AND i.rejected_at < %(end)s
    UNION ALL
    -- Beyond those that are kept.
    SELECT c.company_id, c.kind, c.records
    FROM analytics_ingest_reject_counts AS c
    WHERE c.rejected_at >= %(start)s AND c.rejected_at < %(end)s
    UNION ALL
    SELECT s.row ->> 'company_id', s.kind, 1
    FROM analytics_source_rejects AS s
    WHERE s.first_seen >= %(start)s AND s.first_seen < %(end)s
) AS r
WHERE CASE
    WHEN %(company)s::text IS NOT NULL THEN r.company_id = %(company)s
    WHEN %(each)s THEN r.company_id IS NOT NULL
    ELSE true
END
GROUP BY 1, 2
ORDER BY 3 DESC, 2
