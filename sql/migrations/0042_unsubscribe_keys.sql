-- A random key for each recipient of reports, by which one click in a mail ends them (RFC 8058).
ALTER TABLE analytics_report_recipients ADD COLUMN IF NOT EXISTS unsubscribe_key text NOT NULL UNIQUE
    DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');

COMMENT ON COLUMN analytics_report_recipients.unsubscribe_key IS
    'Whoever has it can end the reports to this recipient, and nothing else.';
