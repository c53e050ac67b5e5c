-- Recipients of reports are addresses of any channel that takes a link to a document.
ALTER TABLE analytics_report_recipients
    ADD COLUMN IF NOT EXISTS channel text NOT NULL DEFAULT 'mail' CHECK (channel ~ '^[a-z][a-z0-9]{0,30}$');

ALTER TABLE analytics_report_recipients DROP CONSTRAINT IF EXISTS analytics_report_recipients_address_check;

ALTER TABLE analytics_report_recipients ADD CONSTRAINT analytics_report_recipients_address_check
    CHECK (CASE channel WHEN 'mail' THEN address ~ '^[!-~]+@[!-~]+$' ELSE address ~ '^[^[:cntrl:]]+$' END);

-- Takes the key of report, audience and address with it.
ALTER TABLE analytics_report_recipients DROP COLUMN IF EXISTS address_key;

ALTER TABLE analytics_report_recipients ADD COLUMN address_key text NOT NULL
    GENERATED ALWAYS AS (CASE channel WHEN 'mail' THEN '' ELSE channel || ':' END || lower(address)) STORED;

ALTER TABLE analytics_report_recipients ADD CONSTRAINT analytics_report_recipients_report_audience_address_key_key
    UNIQUE (report, audience, address_key);

COMMENT ON COLUMN analytics_report_recipients.channel IS 'The channel of the address, as in analytics_outbox.';
COMMENT ON COLUMN analytics_report_recipients.address IS
    'A mail address, or what else an address of the channel names; never a secret.';
COMMENT ON TABLE analytics_report_recipients IS
    'Who gets which report: of a company, or of all companies together (company_id null).';
