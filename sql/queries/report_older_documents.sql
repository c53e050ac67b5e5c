-- Months whose documents that count, the one over all companies or any of those of companies, follow other definitions
-- than today's.
SELECT DISTINCT d.company_id IS NULL, d.period
FROM analytics_report_documents AS d
WHERE d.report = %(report)s AND d.is_current AND d.definitions_version <> %(version)s
