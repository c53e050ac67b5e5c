-- What a message is about, so that messages about the same reach a target in the order they were put in: the end
-- of an alert never overtakes its beginning. Null: it follows nothing.
ALTER TABLE analytics_outbox ADD COLUMN IF NOT EXISTS about text[];

CREATE INDEX IF NOT EXISTS analytics_outbox_about_idx
    ON analytics_outbox (channel, target) WHERE about IS NOT NULL AND state IN ('pending', 'sending');

COMMENT ON COLUMN analytics_outbox.about IS
    'Rules and companies of an alert: the message waits for earlier ones to the same target that share one of them.';

-- The function of this name takes a whole row from now on.
DROP FUNCTION IF EXISTS analytics_outbox_may_leave(bigint, bigint);
