-- Whoever has the document that counts by another mail needs none with an earlier one.
UPDATE analytics_outbox AS o
SET state = 'discarded', settled_at = now(), problem = 'its recipient has the newer document by another mail'
FROM analytics_report_documents AS d
WHERE d.document_id = %(document_id)s AND d.is_current
  AND o.report = d.report AND o.audience = d.audience AND o.period = d.period
  AND o.state = 'pending' AND o.document_id <> d.document_id
  AND EXISTS (
      SELECT
      FROM analytics_outbox AS e
      WHERE e.recipient_id = o.recipient_id AND e.document_id = d.document_id
  )
