-- A request can't be met; done ones stay done.
UPDATE analytics_report_requests
SET state = 'failed', finished_at = now(), problem = %(problem)s
WHERE request_id = %(request_id)s AND state IN ('requested', 'running')
