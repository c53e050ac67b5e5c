-- Take the failures and recoveries about which a message is due, oldest first, as a part of the transaction that puts it into
-- the outbox. Whoever takes others at the same time is not waited for.
WITH due AS (
    SELECT key
    FROM analytics_notifications
    WHERE state = 'pending'
    ORDER BY first_at, key
    LIMIT %(most)s
    FOR UPDATE SKIP LOCKED
)
UPDATE analytics_notifications AS n
SET state = 'enqueued', enqueued_at = now()
FROM due
WHERE n.key = due.key
RETURNING
    n.key, n.subject, n.first_at, n.last_at, n.count, n.recovered_at,
    n.partitions, n.error, n.remedy, n.link, n.recovery
