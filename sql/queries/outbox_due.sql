-- How many messages are due by the channels there are, those whose sender has died included.
SELECT count(*)
FROM analytics_outbox AS o
WHERE (
        state = 'pending' AND next_attempt_at <= now()
        AND channel = ANY (%(channels)s::text[])
        AND analytics_outbox_may_leave(o)
    )
    OR (state = 'sending' AND lease_until < now())
