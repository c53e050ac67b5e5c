-- The run that held a request is over without a document: another may take it.
UPDATE analytics_report_requests
SET state = 'requested', run_id = NULL, started_at = NULL
WHERE request_id = %(request_id)s AND state = 'running' AND run_id = %(run_id)s
