-- Who gets which report, of one company, of the whole platform, or of all of them.
SELECT company_id, report, address, added_at, corrections_from IS NOT NULL
FROM analytics_report_recipients
WHERE active
  AND (%(everywhere)s OR company_id IS NOT DISTINCT FROM %(company_id)s::text)
  AND (%(report)s::text IS NULL OR report = %(report)s)
ORDER BY report, company_id NULLS FIRST, address_key
