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

-- Whether a message of the outbox may leave: a report only as the document that counts now, only if the checks
-- of its partition are known to have passed, and only to somebody who is still to get it. Nulls, no document
-- and no recipient of a report: nothing to wait for.
CREATE OR REPLACE FUNCTION analytics_outbox_may_leave(p_document bigint, p_recipient bigint)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        (p_document IS NULL OR EXISTS (
            SELECT
            FROM analytics_report_documents AS d
            WHERE d.document_id = p_document AND d.is_current AND d.held_because IS NULL
        ))
        AND (p_recipient IS NULL OR EXISTS (
            SELECT FROM analytics_report_recipients AS r WHERE r.recipient_id = p_recipient AND r.active
        ))
$$;

COMMENT ON FUNCTION analytics_outbox_may_leave IS
    'Whether neither its document nor its recipient keeps a message of the outbox from being sent.';
