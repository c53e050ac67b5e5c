-- The active recipients of a document by the one that each was mailed of its period last: what the document is to that
-- one, the version of the definitions of that one (null: they were mailed none) and the figures that differ, if it is the
-- same version; in what form and by which channel they get it, their ids, and the addresses of those who have no mail with this very revision.
SELECT
    analytics_document_relation(e, d),
    e.definitions_version,
    CASE WHEN e.definitions_version = d.definitions_version
         THEN analytics_changed_figures_list(e.shown_figures, d.shown_figures) ELSE '[]' END,
    g.format,
    g.channel,
    g.recipients,
    g.without_it
FROM analytics_report_documents AS d
CROSS JOIN LATERAL (
    SELECT
        o.document_id,
        r.format,
        r.channel,
        array_agg(r.recipient_id) AS recipients,
        coalesce(array_agg(analytics_shown_address(r) ORDER BY r.address_key) FILTER (WHERE NOT EXISTS (
            SELECT FROM analytics_outbox AS h WHERE h.recipient_id = r.recipient_id AND h.document_id = d.document_id
        )), '{}') AS without_it
    FROM analytics_report_recipients AS r
    LEFT JOIN analytics_outbox AS o ON o.outbox_id = analytics_last_mailed(r.recipient_id, d.period)
    WHERE r.report = d.report AND r.audience = d.audience AND r.active
    GROUP BY o.document_id, r.format, r.channel
) AS g
LEFT JOIN analytics_report_documents AS e ON e.document_id = g.document_id
WHERE d.document_id = %(document_id)s
ORDER BY g.document_id NULLS FIRST, g.channel, g.format
