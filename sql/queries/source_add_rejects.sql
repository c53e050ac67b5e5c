-- Of each kind of reason only the first rows are kept; one that is tried again by itself always is.
WITH reject AS (
    SELECT
        given.*,
        given.retry_at IS NOT NULL OR EXISTS (
            SELECT FROM analytics_source_rejects AS known
            WHERE known.source = %(source)s AND known.source_key = given.source_key AND known.resolved_at IS NULL
        ) AS is_kept
    FROM jsonb_to_recordset(%(rejects)s::jsonb) AS given (
        source_key text,
        kind       text,
        reason     text,
        row        jsonb,
        retry_at   timestamptz
    )
),
taken AS (
    SELECT known.kind, count(*) AS rejects
    FROM analytics_source_rejects AS known
    WHERE known.source = %(source)s AND known.resolved_at IS NULL
    GROUP BY known.kind
),
numbered AS (
    SELECT
        r.*,
        coalesce(t.rejects, 0) + row_number() OVER (PARTITION BY r.kind, r.is_kept ORDER BY r.source_key) AS number
    FROM reject AS r
    LEFT JOIN taken AS t ON t.kind = r.kind
)
INSERT INTO analytics_source_rejects AS known (source, source_key, kind, reason, row, retry_at)
SELECT %(source)s, source_key, kind, reason, row, retry_at
FROM numbered
WHERE is_kept OR number <= %(most)s
ON CONFLICT (source, source_key) DO UPDATE SET
    kind = excluded.kind,
    reason = excluded.reason,
    row = excluded.row,
    retry_at = excluded.retry_at,
    first_seen = CASE WHEN known.resolved_at IS NULL THEN known.first_seen ELSE now() END,
    last_seen = now(),
    resolved_at = NULL
