-- The rows an aggregate stores for a window beside those its declaration gives over the raw events.
-- EXCEPT ALL compares every column, takes nulls as equal, and notices duplicates.
-- Identifiers and the declared expressions come in by name, the window as parameters.
WITH expected AS MATERIALIZED (
    SELECT time_bucket({width}::interval, "timestamp") AS bucket, {dimensions}, {expressions}
    FROM {events}
    WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s AND ({condition})
    GROUP BY bucket, {dimensions}
),
stored AS MATERIALIZED (
    SELECT bucket, {dimensions}, {measures}
    FROM {stored}
    WHERE bucket >= %(start)s AND bucket < %(end)s
),
difference AS MATERIALIZED (
    SELECT 'expected' AS side, e.* FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM stored) AS e
    UNION ALL
    SELECT 'stored', s.* FROM (SELECT * FROM stored EXCEPT ALL SELECT * FROM expected) AS s
)
SELECT
    (SELECT count(*) FROM expected),
    (SELECT count(*) FROM stored),
    (SELECT count(*) FROM difference),
    coalesce(
        (SELECT jsonb_agg(to_jsonb(d) ORDER BY bucket, company_id, side)
         FROM (SELECT * FROM difference ORDER BY bucket, company_id, side LIMIT %(most)s) AS d),
        '[]'
    )::text
