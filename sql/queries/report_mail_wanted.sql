-- Documents that count and that somebody is to get: a recipient who is due one by itself, or has a row that is due; and
-- whoever may be sent one that is held back, when it is no more. One rendered before its period had ended is none.
SELECT
    d.document_id, d.report, d.company_id, d.period, d.period_end, d.uri, d.name, d.size, d.sha256, d.pages,
    d.figures, d.data_through, d.provisional, d.definitions_version, d.cautions, d.corrections, d.held_because,
    d.judged_at
FROM analytics_report_documents AS d
WHERE d.is_current
  AND (
      EXISTS (
          SELECT
          FROM analytics_report_recipients AS r
          WHERE r.report = d.report AND r.audience = d.audience AND r.active
            AND (
                (d.held_because IS NOT NULL AND d.rendered_at >= d.period_end)
                -- Cheap, and leaves little for the rest.
                OR (
                    (d.period_end > now() - %(within)s OR r.corrections_from <= d.rendered_at)
                    AND analytics_is_due_mail(r, d, %(within)s)
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
