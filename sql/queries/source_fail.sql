UPDATE analytics_source_cursors
SET finished_at = now(), last_error = %(error)s
WHERE source = %(source)s AND attempt = %(attempt)s
