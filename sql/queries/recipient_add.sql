-- Add somebody, or let somebody who was removed have the report again, or say otherwise about corrections, the form or the
-- time of day (null, or not sets_time: as it is; of somebody new: none, the default, at once). What waits for the time of day waits
-- for the new one. No row: nothing has changed.
WITH changed AS (
    INSERT INTO analytics_report_recipients AS r (company_id, report, channel, address, corrections_from, format, send_at)
    VALUES (
        %(company_id)s, %(report)s, %(channel)s, %(address)s, CASE WHEN %(corrections)s::boolean THEN now() END,
        coalesce(%(format)s, %(default_format)s), %(send_at)s::time
    )
    ON CONFLICT (report, audience, address_key) DO UPDATE
    SET active = true,
        added_at = CASE WHEN r.active THEN r.added_at ELSE now() END,
        corrections_from = CASE
            WHEN r.active AND %(corrections)s::boolean IS NULL THEN r.corrections_from
            WHEN r.active AND %(corrections)s::boolean THEN coalesce(r.corrections_from, excluded.corrections_from)
            ELSE excluded.corrections_from
        END,
        format = CASE WHEN r.active AND %(format)s::text IS NULL THEN r.format ELSE excluded.format END,
        send_at = CASE WHEN r.active AND NOT %(sets_time)s THEN r.send_at ELSE excluded.send_at END
    WHERE NOT r.active
        OR (r.corrections_from IS NOT NULL) <> %(corrections)s::boolean
        OR r.format <> %(format)s::text
        OR (%(sets_time)s AND r.send_at IS DISTINCT FROM %(send_at)s::time)
    RETURNING r.recipient_id, r.send_at
),
moved AS (
    UPDATE analytics_outbox AS o
    SET due_at = analytics_next_time_of_day(changed.send_at, now()),
        next_attempt_at = analytics_next_time_of_day(changed.send_at, now())
    FROM changed
    WHERE o.recipient_id = changed.recipient_id AND o.state = 'pending' AND o.due_at > now()
)
SELECT recipient_id FROM changed
