-- Rows whose sender is dead: its lease has run out. What it may have handed over completely is not sent
-- again by itself; what it certainly has not is due again.
UPDATE analytics_outbox
SET state = CASE
        WHEN transmitting_at IS NOT NULL THEN 'unknown'
        WHEN attempts >= %(most_attempts)s THEN 'failed'
        ELSE 'pending'
    END,
    problem = CASE
        WHEN transmitting_at IS NOT NULL THEN 'the sender died while it handed the message over: it may have arrived'
        ELSE 'the sender died before it handed the message over'
    END,
    settled_at = CASE WHEN transmitting_at IS NOT NULL OR attempts >= %(most_attempts)s THEN now() END,
    next_attempt_at = now()
WHERE state = 'sending' AND lease_until < now() AND (%(kinds)s::text[] IS NULL OR kind = ANY (%(kinds)s))
RETURNING state, problem
