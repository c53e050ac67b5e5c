-- The figures in which a new document differs from the newest earlier one, of the same definitions, that has others.
SELECT analytics_changed_figures_list(d.shown_figures, %(shown)s)
FROM analytics_report_documents AS d
WHERE d.report = %(report)s AND d.company_id IS NOT DISTINCT FROM %(company_id)s::text AND d.period = %(period)s
  AND d.definitions_version = %(version)s AND NOT d.provisional
  AND EXISTS (SELECT FROM analytics_changed_figures(d.shown_figures, %(shown)s))
ORDER BY d.rendered_at DESC, d.document_id DESC
LIMIT 1
