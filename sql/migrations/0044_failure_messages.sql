-- A failure is recorded in analytics_notifications; the messages about it are rows of the outbox, which says what became
-- of them.

DO $$
BEGIN
    -- Run again, it finds this done.
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'analytics_notifications'::regclass AND attname = 'sent_at'
    ) THEN
        RETURN;
    END IF;
    -- What was given up, or may have arrived, is left to a person there: 'outbox list' shows it.
    INSERT INTO analytics_outbox (
        kind, channel, dedupe_key, target, subject, text_body, state, created_at, due_at, next_attempt_at, attempts,
        settled_at, problem
    )
    SELECT
        'failure', 'log', 'failure:before the outbox:' || n.key, 'error',
        left(regexp_replace(format('[analytics] %s: %s', w.what, n.subject), '[[:cntrl:]]', ' ', 'g'), 180),
        format(E'%s: %s\nFailed since: %s\nError: %s\n', w.what, n.subject, n.first_at, n.error),
        CASE n.state WHEN 'unknown' THEN 'unknown' ELSE 'failed' END,
        n.first_at, n.first_at, n.next_attempt_at, n.attempts, coalesce(n.sent_at, n.last_at),
        coalesce(n.problem, 'operators were not reached')
    FROM analytics_notifications AS n
    CROSS JOIN LATERAL (SELECT CASE WHEN n.recovered_at IS NULL THEN 'failed' ELSE 'recovered' END) AS w (what)
    WHERE n.state IN ('unknown', 'undelivered')
    ON CONFLICT (dedupe_key) DO NOTHING;

    ALTER TABLE analytics_notifications DROP CONSTRAINT IF EXISTS analytics_notifications_state_check;
    UPDATE analytics_notifications SET state = 'enqueued' WHERE state <> 'pending';
    ALTER TABLE analytics_notifications RENAME COLUMN sent_at TO enqueued_at;
END
$$;

ALTER TABLE analytics_notifications DROP CONSTRAINT IF EXISTS analytics_notifications_state_check;

ALTER TABLE analytics_notifications
    ADD CONSTRAINT analytics_notifications_state_check CHECK (state IN ('pending', 'enqueued'));

ALTER TABLE analytics_notifications DROP COLUMN IF EXISTS attempts, DROP COLUMN IF EXISTS problem;

DROP INDEX IF EXISTS analytics_notifications_pending_idx;

CREATE INDEX IF NOT EXISTS analytics_notifications_pending_idx
    ON analytics_notifications (first_at) WHERE state = 'pending';

COMMENT ON TABLE analytics_notifications IS
    'Failures of runs and policy jobs: since when, how often, recovered when, and whether a message is still to be put into the outbox.';
COMMENT ON COLUMN analytics_notifications.state IS
    'Of the message about the failure, or about the recovery once recovered_at is set: pending, or enqueued in the outbox.';
COMMENT ON COLUMN analytics_notifications.enqueued_at IS
    'When the last message was put into the outbox, or was sent before there were rows for it.';
COMMENT ON COLUMN analytics_notifications.next_attempt_at IS
    'Unused since messages are rows of the outbox; the migration that made the table, run again, asks for it.';
