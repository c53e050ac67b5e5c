-- At what time of day and in what form each recipient gets reports, and the files there are of a document.

ALTER TABLE analytics_report_recipients ADD COLUMN IF NOT EXISTS send_at time;

ALTER TABLE analytics_report_recipients ADD COLUMN IF NOT EXISTS format text NOT NULL DEFAULT 'pdf'
    CHECK (format IN ('pdf', 'xlsx', 'link'));

COMMENT ON COLUMN analytics_report_recipients.send_at IS
    'Time of day, UTC, at which reports are mailed; null: as soon as they may go.';
COMMENT ON COLUMN analytics_report_recipients.format IS
    'What a mail brings: the document as PDF, its figures as a workbook (xlsx), or a link to the document.';

CREATE TABLE IF NOT EXISTS analytics_report_files (
    document_id bigint NOT NULL REFERENCES analytics_report_documents (document_id) ON DELETE CASCADE,
    format      text   NOT NULL CHECK (format IN ('pdf', 'xlsx')),
    uri         text   NOT NULL,
    name        text   NOT NULL,
    size        bigint NOT NULL,
    sha256      text   NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (document_id, format),
    UNIQUE (document_id, sha256)
);

COMMENT ON TABLE analytics_report_files IS
    'The files there are of a report document: the PDF, and a workbook of the same figures once somebody gets one.';

INSERT INTO analytics_report_files (document_id, format, uri, name, size, sha256)
SELECT document_id, 'pdf', uri, name, size, sha256
FROM analytics_report_documents
ON CONFLICT DO NOTHING;

-- What is attached is a file of that very document.
ALTER TABLE analytics_outbox DROP CONSTRAINT IF EXISTS analytics_outbox_document_id_attachment_sha256_fkey;

ALTER TABLE analytics_outbox ADD CONSTRAINT analytics_outbox_document_id_attachment_sha256_fkey
    FOREIGN KEY (document_id, attachment_sha256) REFERENCES analytics_report_files (document_id, sha256);

-- When a message was first to be sent: not before it was put in, and later where its recipient wants a time of day.
ALTER TABLE analytics_outbox ADD COLUMN IF NOT EXISTS due_at timestamptz;

UPDATE analytics_outbox SET due_at = created_at WHERE due_at IS NULL;

ALTER TABLE analytics_outbox ALTER COLUMN due_at SET DEFAULT now(), ALTER COLUMN due_at SET NOT NULL;

-- In what form a report's mail was made; null of alerts.
ALTER TABLE analytics_outbox ADD COLUMN IF NOT EXISTS format text CHECK (format IN ('pdf', 'xlsx', 'link'));

UPDATE analytics_outbox SET format = 'pdf' WHERE kind = 'report' AND format IS NULL;

COMMENT ON COLUMN analytics_outbox.due_at IS
    'When the message was first to be sent; later than created_at where its recipient wants a time of day.';
COMMENT ON COLUMN analytics_outbox.format IS
    'In what form a report was wanted when the mail was made: pdf, xlsx or link; null of alerts.';
