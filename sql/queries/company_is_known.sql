-- Whether any event names a company; of those that have expired the volumes are left, of those that were removed the
-- documents.
SELECT
    EXISTS (SELECT FROM analytics_events WHERE company_id = %(company_id)s)
    OR EXISTS (SELECT FROM analytics_event_volume_hourly WHERE company_id = %(company_id)s)
    OR EXISTS (SELECT FROM analytics_report_documents WHERE company_id = %(company_id)s)
