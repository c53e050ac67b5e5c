-- A person does not want it sent, or knows that it has arrived.
UPDATE analytics_outbox
SET state = 'discarded', settled_at = now()
WHERE outbox_id = ANY (%(ids)s) AND state IN ('pending', 'failed', 'unknown')
RETURNING outbox_id
