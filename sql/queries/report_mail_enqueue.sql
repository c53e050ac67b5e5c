-- One row for each of these recipients of the document's own report and company who is due one. By itself a recipient
-- who has a row for the period, of whatever kind, gets no second one, but for a correction where the subscription asks
-- for it; old periods, and documents made before theirs had ended, go to nobody. By hand whoever has no row with this
-- very revision gets one.
INSERT INTO analytics_outbox (
    kind, channel, dedupe_key, company_id, target, subject, text_body, html_body,
    attachment_uri, attachment_name, attachment_file, attachment_sha256, attachment_size,
    report, period, document_id, recipient_id, is_correction, format, due_at, next_attempt_at
)
SELECT
    'report', r.channel, analytics_report_mail_key(d, r.address_key, %(by_hand)s OR %(is_another)s),
    d.company_id, r.address, %(subject)s, %(text)s, %(html)s,
    %(attachment_uri)s::text, %(attachment_name)s::text, %(attachment_file)s::text, %(attachment_sha256)s::text,
    %(attachment_size)s::bigint,
    d.report, d.period, d.document_id, r.recipient_id, %(by_hand)s OR %(is_another)s, %(format)s::text, w.due_at, w.due_at
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience AND r.active
-- By hand it goes at once.
CROSS JOIN LATERAL (
    SELECT CASE WHEN %(by_hand)s THEN now() ELSE analytics_next_time_of_day(r.send_at, now()) END
) AS w (due_at)
WHERE d.document_id = %(document_id)s AND d.is_current AND d.held_because IS NULL
  AND r.recipient_id = ANY (%(recipients)s::bigint[])
  AND CASE
      WHEN %(by_hand)s THEN NOT EXISTS (
          SELECT FROM analytics_outbox AS o WHERE o.recipient_id = r.recipient_id AND o.document_id = d.document_id
      )
      ELSE analytics_is_due_mail(r, d, %(within)s)
  END
ON CONFLICT (dedupe_key) DO NOTHING
