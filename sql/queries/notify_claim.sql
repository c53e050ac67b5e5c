-- Take the messages that are due, oldest first. Nobody else takes them for five minutes; if this
-- process dies before it says how sending went, they are due again then.
WITH due AS (
    SELECT key
    FROM analytics_notifications
    WHERE state = 'pending' AND next_attempt_at <= now()
    ORDER BY first_at, key
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE analytics_notifications AS n
SET attempts = attempts + 1, next_attempt_at = now() + interval '5 minutes'
FROM due
WHERE n.key = due.key
RETURNING
    n.key, n.subject, n.first_at, n.last_at, n.count, n.recovered_at,
    n.partitions, n.error, n.remedy, n.link, n.recovery
