-- What is due by a channel that can't be used fares like the message that found out, without asking again.
UPDATE analytics_outbox AS o
SET attempts = attempts + 1,
    state = CASE WHEN attempts + 1 >= %(most_attempts)s THEN 'failed' ELSE 'pending' END,
    problem = %(problem)s,
    next_attempt_at = now() + analytics_outbox_pause(attempts + 1),
    settled_at = CASE WHEN attempts + 1 >= %(most_attempts)s THEN now() END
WHERE o.outbox_id IN (
    SELECT d.outbox_id
    FROM analytics_outbox AS d
    WHERE d.state = 'pending' AND d.next_attempt_at <= now() AND d.channel = %(channel)s
      AND analytics_outbox_may_leave(d)
    FOR UPDATE OF d SKIP LOCKED
)
RETURNING state
