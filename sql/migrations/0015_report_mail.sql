-- Who gets which report, the documents there are, and the outbox: one row per message and recipient,
-- written before anything leaves, so that a mail server that is down loses nothing and a process that is
-- killed sends nothing twice.

-- company_id NULL is the whole platform. audience says the same without NULL, so that keys can hold it.
CREATE TABLE IF NOT EXISTS analytics_report_recipients (
    recipient_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id   text,
    report       text        NOT NULL,
    address      text        NOT NULL CHECK (address ~ '^[!-~]+@[!-~]+$'),
    -- Somebody who was removed keeps the row, because sent mails name it.
    active       boolean     NOT NULL DEFAULT true,
    added_at     timestamptz NOT NULL DEFAULT now(),
    audience     text        NOT NULL
        GENERATED ALWAYS AS (CASE WHEN company_id IS NULL THEN 'all' ELSE 'company:' || company_id END) STORED,
    address_key  text        NOT NULL GENERATED ALWAYS AS (lower(address)) STORED,
    UNIQUE (report, audience, address_key),
    -- What a row of the outbox must match as a whole.
    UNIQUE (recipient_id, report, audience, address)
);

COMMENT ON TABLE analytics_report_recipients IS
    'Who gets which report by mail: of a company, or of all companies together (company_id null).';

-- One row per revision of a document; the current one counts.
CREATE TABLE IF NOT EXISTS analytics_report_documents (
    document_id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report              text        NOT NULL,
    company_id          text,
    period              text        NOT NULL,
    -- First instant after the period.
    period_end          timestamptz NOT NULL,
    uri                 text        NOT NULL,
    name                text        NOT NULL,
    size                bigint      NOT NULL,
    sha256              text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    pages               integer     NOT NULL,
    -- The headline figures as they are printed: [{"label": ..., "value": ..., "change": ...}].
    figures             jsonb       NOT NULL,
    data_through        timestamptz,
    provisional         boolean     NOT NULL,
    definitions_version integer     NOT NULL,
    rendered_at         timestamptz NOT NULL DEFAULT now(),
    run_id              text,
    is_current          boolean     NOT NULL DEFAULT true,
    -- Why nothing of it is mailed; NULL once the checks of its partition are known to have passed.
    held_because        text        DEFAULT 'the checks of its partition have not been looked at yet',
    audience            text        NOT NULL
        GENERATED ALWAYS AS (CASE WHEN company_id IS NULL THEN 'all' ELSE 'company:' || company_id END) STORED,
    UNIQUE (report, audience, period, sha256),
    UNIQUE (document_id, report, audience, period),
    UNIQUE (document_id, sha256)
);

CREATE UNIQUE INDEX IF NOT EXISTS analytics_report_documents_current_key
    ON analytics_report_documents (report, audience, period) WHERE is_current;

COMMENT ON TABLE analytics_report_documents IS
    'Every revision of every report document: where it is, its checksum, its headline figures, the run that made it.';

CREATE TABLE IF NOT EXISTS analytics_outbox (
    outbox_id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind              text        NOT NULL CHECK (kind IN ('report', 'alert')),
    channel           text        NOT NULL CHECK (channel IN ('mail', 'webhook')),
    -- The same message for the same recipient is one row, however often it is put in.
    dedupe_key        text        NOT NULL UNIQUE,
    company_id        text,
    -- A mail address, or the name of a webhook: never a secret.
    target            text        NOT NULL,
    subject           text        NOT NULL CHECK (subject !~ '[[:cntrl:]]'),
    text_body         text        NOT NULL,
    html_body         text,
    -- A document of the store (ANALYTICS_ARTIFACTS): its name there, its name for people, its checksum.
    attachment_uri    text,
    attachment_name   text,
    attachment_file   text,
    attachment_sha256 text,
    attachment_size   bigint,
    state             text        NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown', 'discarded')),
    created_at        timestamptz NOT NULL DEFAULT now(),
    attempts          integer     NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz NOT NULL DEFAULT now(),
    claimed_by        text,
    claimed_at        timestamptz,
    lease_until       timestamptz,
    -- Set just before the message is completed: from then on the other side may have it.
    transmitting_at   timestamptz,
    message_id        text,
    problem           text,
    sent_at           timestamptz,
    -- When it came to what it is now, if it is neither pending nor sending.
    settled_at        timestamptz,
    -- A report's row: whose document, for whom.
    report            text,
    period            text,
    document_id       bigint,
    recipient_id      bigint,
    -- A report that was sent before, sent again on purpose.
    is_correction     boolean     NOT NULL DEFAULT false,
    audience          text        NOT NULL
        GENERATED ALWAYS AS (CASE WHEN company_id IS NULL THEN 'all' ELSE 'company:' || company_id END) STORED,
    CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CHECK (state <> 'sending' OR (claimed_by IS NOT NULL AND lease_until IS NOT NULL)),
    CHECK (num_nulls(attachment_uri, attachment_name, attachment_file, attachment_sha256, attachment_size) IN (0, 5)),
    CHECK (num_nulls(report, period, document_id, recipient_id) = CASE kind WHEN 'report' THEN 0 ELSE 4 END),
    -- The recipient, the document and the row are of one company and one report, whatever a program does.
    FOREIGN KEY (recipient_id, report, audience, target)
        REFERENCES analytics_report_recipients (recipient_id, report, audience, address),
    FOREIGN KEY (document_id, report, audience, period)
        REFERENCES analytics_report_documents (document_id, report, audience, period),
    -- What is attached is that very document.
    FOREIGN KEY (document_id, attachment_sha256)
        REFERENCES analytics_report_documents (document_id, sha256)
);

CREATE INDEX IF NOT EXISTS analytics_outbox_pending_idx
    ON analytics_outbox (next_attempt_at) WHERE state = 'pending';

CREATE INDEX IF NOT EXISTS analytics_outbox_sending_idx
    ON analytics_outbox (lease_until) WHERE state = 'sending';

CREATE INDEX IF NOT EXISTS analytics_outbox_document_idx ON analytics_outbox (document_id);

CREATE INDEX IF NOT EXISTS analytics_outbox_recipient_idx ON analytics_outbox (recipient_id);

COMMENT ON TABLE analytics_outbox IS
    'Mails and webhook calls, sent and still to be sent: one row per message and recipient (docs/mail.md).';
