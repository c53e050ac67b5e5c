-- Documents of companies that have no figures in the period any more count no longer.
UPDATE analytics_report_documents
SET is_current = false
WHERE report = %(report)s AND period = %(period)s AND is_current
  AND company_id IS NOT NULL AND company_id <> ALL (%(companies)s::text[])
