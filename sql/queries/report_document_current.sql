-- The document of a report, a company and a period that counts.
SELECT
    document_id, report, company_id, period, period_end, uri, name, size, sha256, pages,
    figures, data_through, provisional, definitions_version, cautions, corrections, held_because, judged_at
FROM analytics_report_documents
WHERE report = %(report)s AND company_id IS NOT DISTINCT FROM %(company_id)s::text AND period = %(period)s AND is_current
