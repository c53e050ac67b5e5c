UPDATE analytics_source_rejects
SET resolved_at = now(), retry_at = NULL
WHERE source = %(source)s AND source_key = ANY(%(keys)s) AND resolved_at IS NULL
