-- A person wants it sent after all: it begins anew, under the same Message-ID.
UPDATE analytics_outbox
SET state = 'pending',
    attempts = 0,
    next_attempt_at = now(),
    claimed_by = NULL,
    transmitting_at = NULL,
    settled_at = NULL,
    problem = NULL
WHERE outbox_id = ANY (%(ids)s) AND state IN ('failed', 'unknown', 'discarded')
RETURNING outbox_id
