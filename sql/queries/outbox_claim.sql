-- Take the message that has been due for longest. Rows that another sender is just taking are passed over.
WITH due AS (
    SELECT o.outbox_id
    FROM analytics_outbox AS o
    WHERE o.state = 'pending'
      AND o.next_attempt_at <= now()
      AND o.channel = ANY (%(channels)s)
      AND (%(kinds)s::text[] IS NULL OR o.kind = ANY (%(kinds)s))
      AND analytics_outbox_may_leave(o)
    ORDER BY o.next_attempt_at, o.outbox_id
    LIMIT 1
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE analytics_outbox AS o
SET state = 'sending',
    attempts = o.attempts + 1,
    claimed_by = %(sender)s,
    claimed_at = now(),
    lease_until = now() + %(lease)s,
    transmitting_at = NULL,
    -- The same on every attempt, and another one in a database that was copied or set up anew.
    message_id = coalesce(
        o.message_id,
        format('<%%s-%%s.%%s@%%s>', o.kind, o.outbox_id, (extract(epoch FROM o.created_at) * 1000000)::bigint, %(domain)s::text)
    )
FROM due
WHERE o.outbox_id = due.outbox_id
RETURNING
    o.outbox_id, o.kind, o.channel, o.target, o.subject, o.text_body, o.html_body, o.message_id,
    o.attachment_name, o.attachment_uri, o.attachment_file, o.attachment_size, o.attachment_sha256
