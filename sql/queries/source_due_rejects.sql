SELECT row
FROM analytics_source_rejects
WHERE source = %(source)s AND resolved_at IS NULL AND retry_at <= now()
ORDER BY retry_at
LIMIT %(most)s
