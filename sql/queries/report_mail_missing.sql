-- How many mails are still to be put into the outbox.
SELECT count(*)
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience AND r.active
WHERE d.is_current
  AND d.held_because IS NULL
  AND d.rendered_at >= d.period_end
  AND d.period_end > now() - %(within)s
  AND NOT EXISTS (SELECT FROM analytics_outbox AS o WHERE o.recipient_id = r.recipient_id AND o.period = d.period)
