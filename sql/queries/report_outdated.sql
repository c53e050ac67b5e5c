-- Documents that recipients were mailed last of a period and that no longer equal the one that counts, which may be none.
SELECT
    analytics_document_relation(e, c),
    CASE WHEN e.definitions_version = c.definitions_version
         THEN analytics_changed_figures_list(e.shown_figures, c.shown_figures) ELSE '[]' END,
    m.report, m.company_id, m.period, m.addresses, e.definitions_version, c.definitions_version, c.held_because,
    c.rendered_at
FROM (
    SELECT o.document_id, o.report, o.company_id, o.audience, o.period,
           array_agg(analytics_shown_address(r) ORDER BY r.address_key) AS addresses
    FROM (
        SELECT DISTINCT s.recipient_id, s.period
        FROM analytics_outbox AS s
        WHERE s.kind = 'report' AND s.state IN ('sent', 'unknown', 'sending')
    ) AS mailed
    JOIN analytics_outbox AS o ON o.outbox_id = analytics_last_mailed(mailed.recipient_id, mailed.period)
    JOIN analytics_report_recipients AS r ON r.recipient_id = o.recipient_id AND r.active
    GROUP BY o.document_id, o.report, o.company_id, o.audience, o.period
) AS m
JOIN analytics_report_documents AS e ON e.document_id = m.document_id
LEFT JOIN analytics_report_documents AS c
    ON c.report = m.report AND c.audience = m.audience AND c.period = m.period AND c.is_current
WHERE c.document_id IS DISTINCT FROM e.document_id
  AND (%(report)s::text IS NULL OR m.report = %(report)s)
  AND (%(period)s::text IS NULL OR m.period = %(period)s)
  AND (NOT %(of_one)s OR m.company_id IS NOT DISTINCT FROM %(company_id)s::text)
ORDER BY m.period DESC, m.report, m.audience, e.document_id
