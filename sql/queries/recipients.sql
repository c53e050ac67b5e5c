-- Who gets which report, of one company, of the whole platform, or of all of them; and why the last mail to somebody was
-- not delivered, or may not have been (null: it was, or there was none yet).
SELECT r.company_id, r.report, r.channel, r.address, r.added_at, r.corrections_from IS NOT NULL, r.format, r.send_at, m.problem
FROM analytics_report_recipients AS r
LEFT JOIN LATERAL (
    SELECT CASE WHEN o.state IN ('failed', 'unknown') THEN o.problem END AS problem
    FROM analytics_outbox AS o
    WHERE o.recipient_id = r.recipient_id AND o.state IN ('sent', 'failed', 'unknown')
    ORDER BY o.settled_at DESC NULLS LAST, o.outbox_id DESC
    LIMIT 1
) AS m ON true
WHERE r.active
  AND (%(everywhere)s OR r.company_id IS NOT DISTINCT FROM %(company_id)s::text)
  AND (%(report)s::text IS NULL OR r.report = %(report)s)
ORDER BY r.report, r.company_id NULLS FIRST, r.address_key
