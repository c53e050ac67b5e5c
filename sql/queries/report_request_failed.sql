-- A request can't be met, as far as the run that holds it knows (NULL: none does); what others are at stays theirs.
UPDATE analytics_report_requests
SET state = 'failed', finished_at = now(), problem = %(problem)s
WHERE request_id = %(request_id)s AND state IN ('requested', 'running') AND run_id IS NOT DISTINCT FROM %(run_id)s
