-- A run takes a request that waits or has failed, as it stands now; a step that is repeated finds it its own.
UPDATE analytics_report_requests
SET state = 'running', run_id = %(run_id)s, started_at = now(), finished_at = NULL, problem = NULL
WHERE request_id = %(request_id)s
  AND (state IN ('requested', 'failed') OR (state = 'running' AND run_id = %(run_id)s))
RETURNING
    request_id, company_id, start_date, end_date, coalesce(sections, '{}'), format, currency, locale, page_size,
    state, run_id
