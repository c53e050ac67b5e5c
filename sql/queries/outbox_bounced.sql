-- A mail that a server had taken has come back: it was not delivered. One that is known to have come back stays as it is.
WITH bounced AS (
    UPDATE analytics_outbox
    SET state = 'failed', sent_at = NULL, settled_at = now(), problem = %(problem)s
    WHERE message_id = ANY (%(message_ids)s::text[]) AND channel = 'mail' AND state IN ('sent', 'unknown')
    RETURNING outbox_id, target, problem
)
SELECT outbox_id, target, problem FROM bounced
UNION ALL
SELECT outbox_id, target, problem
FROM analytics_outbox
WHERE message_id = ANY (%(message_ids)s::text[]) AND state = 'failed' AND problem LIKE 'bounced: %%'
LIMIT 1
