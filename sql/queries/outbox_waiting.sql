-- How many messages are due and have no channel to go by.
SELECT channel, count(*)
FROM analytics_outbox AS o
WHERE state = 'pending' AND next_attempt_at <= now()
  AND channel <> ALL (%(channels)s::text[])
  AND analytics_outbox_may_leave(o)
GROUP BY channel
ORDER BY channel
