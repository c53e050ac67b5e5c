-- Say how sending went. A sender that was thought dead still knows best, until a person has decided.
UPDATE analytics_outbox
SET state = CASE
        WHEN %(outcome)s <> 'pending' THEN %(outcome)s
        WHEN attempts >= %(most_attempts)s THEN 'failed'
        ELSE 'pending'
    END,
    problem = %(problem)s,
    next_attempt_at = now() + analytics_outbox_pause(attempts),
    transmitting_at = CASE WHEN %(outcome)s <> 'pending' THEN transmitting_at END,
    sent_at = CASE WHEN %(outcome)s = 'sent' THEN now() END,
    settled_at = CASE WHEN %(outcome)s <> 'pending' OR attempts >= %(most_attempts)s THEN now() END
WHERE outbox_id = %(id)s AND claimed_by = %(sender)s AND state IN ('sending', 'unknown')
RETURNING state
