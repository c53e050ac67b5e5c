-- The rows an aggregate stores for a window beside those its declaration gives over the raw events.
-- EXCEPT ALL compares every column, takes nulls as equal, and notices duplicates. Buckets that overlap the stale ranges
-- are known to differ: they are counted apart.
-- Identifiers and the declared expressions come in by name, window and ranges as parameters.
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
stale AS MATERIALIZED (
    SELECT coalesce(range_agg(tstzrange(first_instant, last_instant, '[]')), '{{}}') AS ranges
    FROM unnest(%(stale_first)s::timestamptz[], %(stale_last)s::timestamptz[]) AS s (first_instant, last_instant)
),
difference AS MATERIALIZED (
    SELECT b.*, s.ranges && tstzrange(b.bucket, b.bucket + {width}::interval) AS is_stale
    FROM (
        SELECT 'expected' AS side, e.* FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM stored) AS e
        UNION ALL
        SELECT 'stored', s.* FROM (SELECT * FROM stored EXCEPT ALL SELECT * FROM expected) AS s
    ) AS b
    CROSS JOIN stale AS s
)
SELECT
    (SELECT count(*) FROM expected),
    (SELECT count(*) FROM stored),
    (SELECT count(*) FROM difference AS d WHERE NOT d.is_stale),
    coalesce(
        (SELECT jsonb_agg(to_jsonb(d) - 'is_stale' ORDER BY bucket, company_id, side)
         FROM (
             SELECT * FROM difference AS i WHERE NOT i.is_stale ORDER BY bucket, company_id, side LIMIT %(most)s
         ) AS d),
        '[]'
    )::text,
    ARRAY(SELECT DISTINCT d.bucket FROM difference AS d WHERE d.is_stale ORDER BY d.bucket)
