-- Another document takes this one's place.
UPDATE analytics_report_documents
SET is_current = false
WHERE report = %(report)s AND company_id IS NOT DISTINCT FROM %(company_id)s::text AND period = %(period)s AND is_current
