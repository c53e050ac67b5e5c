-- Figures of every company, of days and of months: of the metrics whose amounts are converted.
INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, metrics, cause)
SELECT
    NULL, change.changed_from, change.changed_until, NULL, ARRAY['revenue_metrics', 'mrr_movements'], change.cause
FROM jsonb_to_recordset(%(changes)s::jsonb)
    AS change (changed_from timestamptz, changed_until timestamptz, cause text)
ORDER BY change.changed_from
