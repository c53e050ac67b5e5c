-- Every message goes through the outbox: those about failures of runs and jobs, too, and by whatever channel the program
-- knows. Which ones there are is the program's knowledge, so that another one needs no migration.
ALTER TABLE analytics_outbox
    DROP CONSTRAINT IF EXISTS analytics_outbox_kind_check,
    DROP CONSTRAINT IF EXISTS analytics_outbox_channel_check;

ALTER TABLE analytics_outbox
    ADD CONSTRAINT analytics_outbox_kind_check CHECK (kind IN ('report', 'alert', 'failure')),
    ADD CONSTRAINT analytics_outbox_channel_check CHECK (channel ~ '^[a-z][a-z0-9]{0,30}$');

COMMENT ON TABLE analytics_outbox IS
    'Messages, sent and still to be sent: one row per message and address (docs/notifications.md).';
COMMENT ON COLUMN analytics_outbox.target IS
    'What follows the colon of an address: a mail address, or a name that a setting gives to a secret; never a secret.';
COMMENT ON COLUMN analytics_outbox.text_body IS
    'The message in the form of its channel: the text of a mail, the JSON of a webhook.';
