-- What operators were told, and what they are still to be told: one row per failure, from its first
-- occurrence to its recovery. A row is written before any message leaves, so a mail server that is
-- down loses nothing.
CREATE TABLE IF NOT EXISTS analytics_notifications (
    key             text        PRIMARY KEY,
    -- Who noticed it: run or policy.
    source          text        NOT NULL,
    subject         text        NOT NULL,
    -- Of the message that is due: of the failure, or, once recovered_at is set, of the recovery.
    state           text        NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sent', 'unknown', 'undelivered')),
    first_at        timestamptz NOT NULL,
    last_at         timestamptz NOT NULL,
    count           bigint      NOT NULL DEFAULT 1,
    recovered_at    timestamptz,
    sent_at         timestamptz,
    partitions      text,
    error           text        NOT NULL,
    remedy          text        NOT NULL,
    link            text,
    recovery        text,
    -- What tells which success is the recovery; belongs to the source.
    details         jsonb       NOT NULL DEFAULT '{}',
    attempts        integer     NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    problem         text
);

-- A failure that goes on is one row.
CREATE UNIQUE INDEX IF NOT EXISTS analytics_notifications_open_key
    ON analytics_notifications (source, subject) WHERE recovered_at IS NULL;

CREATE INDEX IF NOT EXISTS analytics_notifications_subject_idx
    ON analytics_notifications (source, subject, first_at);

CREATE INDEX IF NOT EXISTS analytics_notifications_pending_idx
    ON analytics_notifications (next_attempt_at) WHERE state = 'pending';

COMMENT ON TABLE analytics_notifications IS
    'Failures of runs and policy jobs: since when, how often, recovered when, and whether operators were told.';
