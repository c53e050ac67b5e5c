-- Requests that wait or are being met, the oldest first.
SELECT
    request_id, company_id, start_date, end_date, coalesce(sections, '{}'), format, currency, locale, page_size, state, run_id
FROM analytics_report_requests
WHERE state IN ('requested', 'running')
ORDER BY request_id
LIMIT %(most)s
