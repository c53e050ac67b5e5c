-- A report leaves at a time of day where its company is, and without one at 08:00 of the first morning after its month.
ALTER TABLE analytics_report_recipients ADD COLUMN IF NOT EXISTS at_once boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN analytics_report_recipients.send_at IS
    'Time of day in the time zone of the report at which mails leave; null: 08:00 of the morning after the month, or as soon as they may go later.';
COMMENT ON COLUMN analytics_report_recipients.at_once IS
    'Mails leave as soon as they may go, whatever the time of day.';

-- It takes a time zone now.
DROP FUNCTION IF EXISTS analytics_next_time_of_day(time, timestamptz);

-- Null: that of the company.
ALTER TABLE analytics_report_requests ALTER COLUMN locale DROP NOT NULL, ALTER COLUMN locale DROP DEFAULT;
