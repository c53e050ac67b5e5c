-- How many mails are still to be put into the outbox.
SELECT count(*)
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience AND r.active
WHERE d.is_current AND d.held_because IS NULL
  -- Cheap, and leaves little for the rest.
  AND (d.period_end > now() - %(within)s OR r.corrections_from <= d.rendered_at)
  AND analytics_is_due_mail(r, d, %(within)s)
