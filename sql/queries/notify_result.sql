-- Say how sending went. A row that recovered meanwhile keeps its recovery message due.
UPDATE analytics_notifications AS n
SET sent_at = CASE WHEN %(outcome)s = 'pending' THEN n.sent_at ELSE now() END,
    problem = %(problem)s,
    state = CASE
        WHEN n.recovered_at IS DISTINCT FROM c.recovered_at THEN n.state
        WHEN %(outcome)s = 'pending' AND n.attempts >= %(most_attempts)s THEN 'undelivered'
        ELSE %(outcome)s
    END,
    next_attempt_at = CASE
        WHEN n.recovered_at IS DISTINCT FROM c.recovered_at THEN now()
        ELSE now() + least(interval '1 minute' * 2 ^ least(greatest(n.attempts - 1, 0), 10), interval '1 hour')
    END
FROM unnest(%(keys)s::text[], %(recovered)s::timestamptz[]) AS c (key, recovered_at)
WHERE n.key = c.key
RETURNING n.subject, n.state
