-- Rows of the ERP that are not events, newest first.
SELECT source, source_key, reason, row, first_seen, last_seen, retry_at
FROM analytics_source_rejects
WHERE (%(source)s::text IS NULL OR source = %(source)s) AND resolved_at IS NULL
ORDER BY first_seen DESC, source, source_key
LIMIT %(most)s
