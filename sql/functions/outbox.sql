-- How long a message waits after so many attempts: a minute, two, four, at most four hours, give or take a
-- fifth, so that what failed together is not tried again together.
CREATE OR REPLACE FUNCTION analytics_outbox_pause(p_attempts integer)
RETURNS interval
LANGUAGE sql VOLATILE
AS $$
    SELECT least(interval '1 minute' * 2 ^ least(greatest(p_attempts - 1, 0), 10), interval '4 hours')
        * (0.8 + 0.4 * random())
$$;

COMMENT ON FUNCTION analytics_outbox_pause IS
    'Pause before the next attempt at a message of the outbox, with jitter.';

-- Computed without the session's time zone, in which a day may have another length.
CREATE OR REPLACE FUNCTION analytics_next_time_of_day(p_time time, p_from timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_time IS NULL THEN p_from
        ELSE (
            u.instant::date + p_time + CASE WHEN p_time < u.instant::time THEN interval '1 day' ELSE interval '0' END
        ) AT TIME ZONE 'UTC'
    END
    FROM (SELECT p_from AT TIME ZONE 'UTC') AS u (instant)
$$;

COMMENT ON FUNCTION analytics_next_time_of_day IS
    'The first instant from another one on at which it is a time of day, UTC; without a time of day that instant itself.';

-- Whether a message of the outbox may leave: a report only as the document that counts now, only if the checks
-- of its partition are known to have passed, or as the one that was signed, and only to somebody who is still to get it; an alert only when no
-- earlier message about the same is still on its way to the same target.
CREATE OR REPLACE FUNCTION analytics_outbox_may_leave(p_message analytics_outbox)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        (p_message.document_id IS NULL OR EXISTS (
            SELECT
            FROM analytics_report_documents AS d
            WHERE d.document_id = p_message.document_id
              AND ((d.is_current AND d.held_because IS NULL) OR analytics_is_signed(d))
        ))
        AND (p_message.recipient_id IS NULL OR EXISTS (
            SELECT
            FROM analytics_report_recipients AS r
            WHERE r.recipient_id = p_message.recipient_id AND r.active
        ))
        AND (p_message.about IS NULL OR NOT EXISTS (
            SELECT
            FROM analytics_outbox AS e
            WHERE e.channel = p_message.channel AND e.target = p_message.target
              AND e.state IN ('pending', 'sending')
              AND e.outbox_id < p_message.outbox_id AND e.about && p_message.about
        ))
$$;

COMMENT ON FUNCTION analytics_outbox_may_leave IS
    'Whether nothing keeps a message of the outbox from being sent: its document, its recipient, an earlier message.';

CREATE OR REPLACE FUNCTION analytics_shown_address(p_recipient analytics_report_recipients)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE (p_recipient).channel WHEN 'mail' THEN '' ELSE (p_recipient).channel || ':' END || (p_recipient).address
$$;

COMMENT ON FUNCTION analytics_shown_address IS
    'The address of a recipient as people read it: a mail address alone, any other with its channel.';
