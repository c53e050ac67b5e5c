-- What has not left yet to these recipients leaves as the document that counts now, in the form that they want now.
UPDATE analytics_outbox AS o
SET subject = %(subject)s,
    text_body = %(text)s,
    html_body = %(html)s,
    attachment_uri = %(attachment_uri)s,
    attachment_name = %(attachment_name)s,
    attachment_file = %(attachment_file)s,
    attachment_sha256 = %(attachment_sha256)s,
    attachment_size = %(attachment_size)s,
    format = %(format)s,
    -- One of a revision is that of the new one now, unless an earlier release left that key to another row.
    dedupe_key = CASE
        WHEN o.is_correction AND NOT EXISTS (
            SELECT FROM analytics_outbox AS k WHERE k.dedupe_key = analytics_report_mail_key(d, r.address_key, true)
        ) THEN analytics_report_mail_key(d, r.address_key, true)
        ELSE o.dedupe_key
    END,
    document_id = d.document_id
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience
WHERE d.document_id = %(document_id)s AND d.is_current AND d.held_because IS NULL
  AND r.recipient_id = ANY (%(recipients)s::bigint[]) AND o.recipient_id = r.recipient_id
  AND o.period = d.period AND o.state = 'pending'
  AND (o.document_id <> d.document_id OR o.format <> %(format)s)
  AND NOT EXISTS (
      SELECT
      FROM analytics_outbox AS e
      WHERE e.recipient_id = o.recipient_id AND e.document_id = d.document_id AND e.outbox_id <> o.outbox_id
  )
