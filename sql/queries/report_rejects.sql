-- Records turned away in a period (by arrival) and why, of each company that a record names or (each false) of all
-- that are asked for together. A record is text as it came: its company is read where it is JSON.
SELECT CASE WHEN %(each)s THEN r.company_id END, r.reason, count(*)
FROM (
    SELECT
        substring(i.record FROM '"company_id"\s*:\s*"((?:[^"\\])*)"') AS company_id, i.reason
    FROM analytics_ingest_rejects AS i
    WHERE i.rejected_at >= %(start)s AND i.rejected_at < %(end)s
    UNION ALL
    SELECT s.row ->> 'company_id', s.reason
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
