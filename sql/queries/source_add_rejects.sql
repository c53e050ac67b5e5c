INSERT INTO analytics_source_rejects AS known (source, source_key, kind, reason, row, retry_at)
SELECT %(source)s, source_key, kind, reason, row, retry_at
FROM jsonb_to_recordset(%(rejects)s::jsonb) AS reject (
    source_key text,
    kind       text,
    reason     text,
    row        jsonb,
    retry_at   timestamptz
)
ON CONFLICT (source, source_key) DO UPDATE SET
    kind = excluded.kind,
    reason = excluded.reason,
    row = excluded.row,
    retry_at = excluded.retry_at,
    first_seen = CASE WHEN known.resolved_at IS NULL THEN known.first_seen ELSE now() END,
    last_seen = now(),
    resolved_at = NULL
