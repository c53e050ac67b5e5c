-- The newest rows of the outbox; with a state or a company only theirs.
SELECT
    o.outbox_id, o.kind, o.channel, o.company_id, o.report, o.period, o.target, o.subject, o.state,
    CASE
        WHEN o.state <> 'pending' OR analytics_outbox_may_leave(o) THEN o.problem
        WHEN o.kind = 'alert' THEN 'waits for an earlier message about the same alert'
        WHEN d.held_because IS NOT NULL THEN 'held back: ' || d.held_because
        WHEN NOT d.is_current THEN 'held back: a newer document has not been looked at yet'
        ELSE 'held back: the recipient was removed'
    END AS problem,
    o.created_at, o.attempts, o.next_attempt_at, o.sent_at, o.message_id
FROM analytics_outbox AS o
LEFT JOIN analytics_report_documents AS d ON d.document_id = o.document_id
WHERE (%(state)s::text IS NULL OR o.state = %(state)s)
  AND (%(company)s::text IS NULL OR o.company_id = %(company)s)
ORDER BY o.outbox_id DESC
LIMIT %(most)s
