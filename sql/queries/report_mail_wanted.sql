-- Documents that count and that somebody is to get: a recipient without a row for the period, as long as the
-- period has not ended too long ago; a row that is due; and whoever may be sent one that is held back, when it is
-- no more. One rendered before its period had ended is none.
SELECT
    d.document_id, d.report, d.company_id, d.period, d.period_end, d.uri, d.name, d.size, d.sha256, d.pages,
    d.figures, d.data_through, d.provisional, d.definitions_version, d.held_because
FROM analytics_report_documents AS d
WHERE d.is_current
  AND (
      (
          d.rendered_at >= d.period_end
          AND EXISTS (
              SELECT
              FROM analytics_report_recipients AS r
              WHERE r.report = d.report AND r.audience = d.audience AND r.active
                AND (
                    d.held_because IS NOT NULL
                    OR (
                        d.period_end > now() - %(within)s
                        AND NOT EXISTS (
                            SELECT
                            FROM analytics_outbox AS o
                            WHERE o.recipient_id = r.recipient_id AND o.period = d.period
                        )
                    )
                )
          )
      )
      OR EXISTS (
          SELECT
          FROM analytics_outbox AS o
          WHERE o.state = 'pending' AND o.next_attempt_at <= now()
            AND o.report = d.report AND o.audience = d.audience AND o.period = d.period
      )
  )
ORDER BY d.period_end, d.report, d.audience
