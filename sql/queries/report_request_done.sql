-- The run that holds a request has made its document.
UPDATE analytics_report_requests
SET state = 'done', finished_at = now(), uri = %(uri)s, pages = %(pages)s, size = %(size)s, sha256 = %(sha256)s
WHERE request_id = %(request_id)s AND state = 'running' AND run_id = %(run_id)s
