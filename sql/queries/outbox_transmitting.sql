-- From here on the other side may have the message. Changes nothing if the row is no longer this sender's.
UPDATE analytics_outbox
SET transmitting_at = now(), lease_until = now() + %(lease)s
WHERE outbox_id = %(id)s AND claimed_by = %(sender)s
  AND state = 'sending' AND transmitting_at IS NULL AND lease_until > now()
