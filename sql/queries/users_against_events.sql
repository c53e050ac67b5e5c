-- What is stored of users beside the events: all of what is closed within a span, both ways, and of what was closed
-- before it a sample (by a hash that changes with the seed), whose events must be there.
WITH judged AS MATERIALIZED (
    SELECT
        analytics_comparable_windows(
            'analytics_users', analytics_events_from(), %(stale_starts)s::timestamptz[], %(stale_ends)s::timestamptz[]
        ) AS windows
),
newest AS MATERIALIZED (
    SELECT lower(r) AS span_start, upper(r) AS span_end
    FROM judged AS j
    CROSS JOIN LATERAL unnest(j.windows * tstzmultirange(tstzrange(%(since)s, %(until)s))) AS r
),
held AS MATERIALIZED (
    SELECT s.company_id, s.user_id, min(s.first_seen) AS first_seen
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT e.company_id, e.user_id, min(e."timestamp") AS first_seen
        FROM analytics_events AS e
        WHERE e."timestamp" >= n.span_start AND e."timestamp" < n.span_end AND e.user_id IS NOT NULL
        GROUP BY e.company_id, e.user_id
    ) AS s
    GROUP BY s.company_id, s.user_id
),
deletion AS MATERIALIZED (
    SELECT s.company_id, s.user_id, s.deleted_at
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT DISTINCT e.company_id, e.user_id, e."timestamp" AS deleted_at
        FROM analytics_events AS e
        WHERE e."timestamp" >= n.span_start AND e."timestamp" < n.span_end
          AND e.event_type = 'user.deleted' AND e.user_id IS NOT NULL
    ) AS s
),
fact AS (
    SELECT u.company_id, u.user_id, u.first_seen AS instant, 'first seen' AS what FROM analytics_users AS u
    UNION ALL
    SELECT d.company_id, d.user_id, d.deleted_at, 'deleted' FROM analytics_user_deletions AS d
    UNION ALL
    SELECT d.company_id, d.user_id, d.returned_at, 'back'
    FROM analytics_user_deletions AS d
    WHERE d.returned_at IS NOT NULL
),
looked_up AS (
    SELECT f.*
    FROM fact AS f
    WHERE f.what = 'back'
      AND EXISTS (SELECT FROM newest AS n WHERE f.instant >= n.span_start AND f.instant < n.span_end)
    UNION ALL
    (
        SELECT f.*
        FROM fact AS f
        CROSS JOIN judged AS j
        WHERE f.instant < %(since)s AND j.windows @> f.instant
        ORDER BY hashtextextended(f.company_id || ' ' || f.user_id, %(seed)s)
        LIMIT %(sample)s
    )
),
difference AS (
    SELECT l.company_id, l.user_id, l.instant, format('%%s then, where no event says so', l.what) AS what
    FROM looked_up AS l
    WHERE NOT EXISTS (
        SELECT FROM analytics_events AS e
        WHERE e.company_id = l.company_id AND e.user_id = l.user_id AND e."timestamp" = l.instant
          AND (l.what = 'first seen' OR (l.what = 'deleted') = (e.event_type = 'user.deleted'))
    )
    UNION ALL
    SELECT u.company_id, u.user_id, u.first_seen, 'first seen then, where no event says so'
    FROM analytics_users AS u
    JOIN newest AS n ON u.first_seen >= n.span_start AND u.first_seen < n.span_end
    LEFT JOIN held AS h ON h.company_id = u.company_id AND h.user_id = u.user_id
    WHERE h.first_seen IS DISTINCT FROM u.first_seen
    UNION ALL
    SELECT h.company_id, h.user_id, h.first_seen, 'has an event then, before the one first seen'
    FROM held AS h
    LEFT JOIN analytics_users AS u ON u.company_id = h.company_id AND u.user_id = h.user_id
    WHERE u.first_seen IS NULL OR h.first_seen < u.first_seen
    UNION ALL
    SELECT d.company_id, d.user_id, d.deleted_at, 'deleted then, where no event says so'
    FROM analytics_user_deletions AS d
    JOIN newest AS n ON d.deleted_at >= n.span_start AND d.deleted_at < n.span_end
    WHERE NOT EXISTS (
        SELECT FROM deletion AS e
        WHERE e.company_id = d.company_id AND e.user_id = d.user_id AND e.deleted_at = d.deleted_at
    )
    UNION ALL
    SELECT e.company_id, e.user_id, e.deleted_at, 'deleted then, which is not stored'
    FROM deletion AS e
    WHERE NOT EXISTS (
        SELECT FROM analytics_user_deletions AS d
        WHERE d.company_id = e.company_id AND d.user_id = e.user_id AND d.deleted_at = e.deleted_at
    )
    UNION ALL
    SELECT s.company_id, s.user_id, s.instant, 'has an event then, before the return that is stored'
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT d.company_id, d.user_id, min(e."timestamp") AS instant
        FROM analytics_user_deletions AS d
        JOIN analytics_events AS e ON e.company_id = d.company_id AND e.user_id = d.user_id
        WHERE e."timestamp" >= n.span_start AND e."timestamp" < n.span_end
          AND e.event_type <> 'user.deleted'
          AND e."timestamp" > d.deleted_at AND e."timestamp" < coalesce(d.returned_at, 'infinity')
        GROUP BY d.company_id, d.user_id
    ) AS s
)
SELECT
    (SELECT count(*) FROM held),
    (SELECT count(*) FROM looked_up),
    (SELECT count(*) FROM difference),
    (SELECT min(d.instant) FROM difference AS d),
    (SELECT max(d.instant) FROM difference AS d),
    ARRAY(
        SELECT format(
            '%%s, user %%s: %%s %%s', d.company_id, d.user_id,
            to_char(d.instant AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'), d.what
        )
        FROM difference AS d
        ORDER BY d.instant, d.company_id, d.user_id
        LIMIT %(most)s
    )
