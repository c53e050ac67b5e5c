-- The newest rows of the outbox; with a state or a company only theirs; outdated: only of mailed documents that were the
-- last of their recipient and period, and count no more. Of a mailed document: what the one that counts is to it.
SELECT
    CASE
        WHEN o.kind <> 'report' OR o.state NOT IN ('sent', 'unknown', 'sending') THEN NULL
        WHEN o.outbox_id <> analytics_last_mailed(o.recipient_id, o.period) THEN 'replaced'
        ELSE analytics_document_relation(d, c)
    END,
    CASE WHEN d.definitions_version = c.definitions_version
         THEN analytics_changed_figures_list(d.shown_figures, c.shown_figures) ELSE '[]' END,
    o.outbox_id, o.kind, o.channel, o.company_id, o.report, o.period, o.target, o.subject, o.state,
    CASE
        WHEN o.state = 'pending' AND o.attempts = 0 AND o.due_at > now()
            THEN 'waits for the time of day at which its recipient wants it'
        WHEN o.state <> 'pending' OR analytics_outbox_may_leave(o) THEN o.problem
        WHEN o.kind = 'alert' THEN 'waits for an earlier message about the same alert'
        WHEN o.kind = 'failure' THEN 'waits for an earlier message about the same failure'
        WHEN d.held_because IS NOT NULL THEN 'held back: ' || d.held_because
        WHEN NOT d.is_current THEN 'held back: a newer document has not been looked at yet'
        ELSE 'held back: the recipient was removed'
    END AS problem,
    o.created_at, o.attempts, o.next_attempt_at, o.sent_at, o.message_id,
    d.definitions_version, c.definitions_version
FROM analytics_outbox AS o
LEFT JOIN analytics_report_documents AS d ON d.document_id = o.document_id
LEFT JOIN analytics_report_documents AS c
    ON c.report = d.report AND c.audience = d.audience AND c.period = d.period AND c.is_current
WHERE o.outbox_id IN (
    SELECT l.outbox_id
    FROM analytics_outbox AS l
    WHERE (%(state)s::text IS NULL OR l.state = %(state)s)
      AND (%(company)s::text IS NULL OR l.company_id = %(company)s)
      AND (NOT %(outdated)s OR (
          l.kind = 'report'
          AND l.outbox_id = analytics_last_mailed(l.recipient_id, l.period)
          AND NOT EXISTS (
              SELECT FROM analytics_report_documents AS k WHERE k.document_id = l.document_id AND k.is_current
          )
      ))
    ORDER BY l.outbox_id DESC
    LIMIT %(most)s
)
ORDER BY o.outbox_id DESC
