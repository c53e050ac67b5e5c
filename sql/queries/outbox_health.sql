-- How the outbox stands: what ended badly lately, and what waits too long.
SELECT
    count(*) FILTER (WHERE state = 'failed' AND settled_at > now() - %(look_back)s),
    count(*) FILTER (
        WHERE (state = 'unknown' AND settled_at > now() - %(look_back)s)
            OR (state = 'sending' AND lease_until < now() AND transmitting_at IS NOT NULL)
    ),
    count(*) FILTER (
        WHERE due_at < now() - %(patience)s
            AND (state = 'pending' OR (state = 'sending' AND lease_until < now() AND transmitting_at IS NULL))
    ),
    min(due_at) FILTER (WHERE state = 'pending' AND due_at <= now()),
    count(*) FILTER (WHERE state = 'sent' AND sent_at > now() - %(look_back)s)
FROM analytics_outbox
WHERE state IN ('pending', 'sending') OR settled_at > now() - %(look_back)s
