UPDATE analytics_source_cursors
SET finished_at = now(), failures = 0, last_error = NULL
WHERE source = %(source)s AND attempt = %(attempt)s
