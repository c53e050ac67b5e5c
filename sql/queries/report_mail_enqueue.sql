-- One row for each recipient of the document's own report and company. A recipient who has a row for the period, of
-- whatever kind, gets no second one; a correction is another row, once for each revision. Old periods, and documents
-- made before theirs had ended, go to nobody but as corrections that a person asked for.
INSERT INTO analytics_outbox (
    kind, channel, dedupe_key, company_id, target, subject, text_body, html_body,
    attachment_uri, attachment_name, attachment_file, attachment_sha256, attachment_size,
    report, period, document_id, recipient_id, is_correction
)
SELECT
    'report', 'mail',
    CASE
        WHEN %(is_correction)s
            THEN jsonb_build_array('report', d.report, d.audience, d.period, r.address_key, d.sha256)
        ELSE jsonb_build_array('report', d.report, d.audience, d.period, r.address_key)
    END::text,
    d.company_id, r.address, %(subject)s, %(text)s, %(html)s,
    CASE WHEN %(attach)s THEN d.uri END,
    CASE WHEN %(attach)s THEN d.name END,
    CASE WHEN %(attach)s THEN %(file)s::text END,
    CASE WHEN %(attach)s THEN d.sha256 END,
    CASE WHEN %(attach)s THEN d.size END,
    d.report, d.period, d.document_id, r.recipient_id, %(is_correction)s
FROM analytics_report_documents AS d
JOIN analytics_report_recipients AS r ON r.report = d.report AND r.audience = d.audience AND r.active
WHERE d.document_id = %(document_id)s AND d.is_current AND d.held_because IS NULL
  AND NOT EXISTS (
      SELECT
      FROM analytics_outbox AS o
      WHERE o.recipient_id = r.recipient_id AND o.period = d.period
        AND (NOT %(is_correction)s OR o.document_id = d.document_id)
  )
  AND (%(is_correction)s OR (d.rendered_at >= d.period_end AND d.period_end > now() - %(within)s))
ON CONFLICT (dedupe_key) DO NOTHING
