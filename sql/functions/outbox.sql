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

-- A time of day that a clock skips is the one after it.
CREATE OR REPLACE FUNCTION analytics_next_time_of_day(p_time time, p_from timestamptz, p_zone text)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT min(t.instant)
    FROM (
        SELECT ((p_from AT TIME ZONE p_zone)::date + d + p_time) AT TIME ZONE p_zone AS instant
        FROM generate_series(0, 2) AS d
    ) AS t
    WHERE t.instant >= p_from
$$;

COMMENT ON FUNCTION analytics_next_time_of_day IS
    'The first instant from another one on at which it is a time of day in a time zone.';

CREATE OR REPLACE FUNCTION analytics_report_due(
    p_recipient analytics_report_recipients, p_period_end timestamptz, p_from timestamptz, p_platform_zone text
)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN (p_recipient).at_once THEN p_from
        WHEN (p_recipient).send_at IS NOT NULL
        THEN analytics_next_time_of_day((p_recipient).send_at, p_from, z.time_zone)
        ELSE greatest(
            p_from, (analytics_local_date(p_period_end, z.time_zone) + time '08:00') AT TIME ZONE z.time_zone
        )
    END
    FROM (SELECT analytics_zone_of((p_recipient).company_id, p_platform_zone) AS time_zone) AS z
$$;

COMMENT ON FUNCTION analytics_report_due IS
    'When a report of a period that ends then is to leave to a recipient, from another instant on at the earliest.';

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
