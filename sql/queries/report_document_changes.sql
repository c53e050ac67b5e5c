-- The figures in which others differ from those of the document that counts, of the same definitions, and its cautions.
SELECT analytics_changed_figures_list(d.shown_figures, %(shown)s), d.cautions
FROM analytics_report_documents AS d
WHERE d.report = %(report)s AND d.company_id IS NOT DISTINCT FROM %(company_id)s::text AND d.period = %(period)s
  AND d.is_current AND d.definitions_version = %(version)s
