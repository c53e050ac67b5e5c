-- A run takes a request, unless another is at it; a step that is repeated finds it its own.
UPDATE analytics_report_requests
SET state = 'running', run_id = %(run_id)s, started_at = now(), finished_at = NULL, problem = NULL
WHERE request_id = %(request_id)s AND (state <> 'running' OR run_id = %(run_id)s)
RETURNING request_id
