-- What has not left yet leaves as the document that counts now.
UPDATE analytics_outbox AS o
SET subject = %(subject)s,
    text_body = %(text)s,
    html_body = %(html)s,
    attachment_uri = CASE WHEN %(attach)s THEN d.uri END,
    attachment_name = CASE WHEN %(attach)s THEN d.name END,
    attachment_file = CASE WHEN %(attach)s THEN %(file)s::text END,
    attachment_sha256 = CASE WHEN %(attach)s THEN d.sha256 END,
    attachment_size = CASE WHEN %(attach)s THEN d.size END,
    document_id = d.document_id
FROM analytics_report_documents AS d
WHERE d.document_id = %(document_id)s AND d.is_current AND d.held_because IS NULL
  AND o.report = d.report AND o.audience = d.audience AND o.period = d.period
  AND o.state = 'pending' AND o.is_correction = %(is_correction)s AND o.document_id <> d.document_id
  AND NOT EXISTS (
      SELECT
      FROM analytics_outbox AS e
      WHERE e.recipient_id = o.recipient_id AND e.document_id = d.document_id AND e.outbox_id <> o.outbox_id
  )
