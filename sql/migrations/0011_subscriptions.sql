-- The life of every subscription, a row from each change to the next. Kept beside the events because
-- a balance of today may stand on a change that their retention has dropped.
CREATE TABLE IF NOT EXISTS analytics_subscriptions (
    company_id      text        NOT NULL,
    subscription_id text        NOT NULL,
    valid_from      timestamptz NOT NULL,
    -- NULL: to this day.
    valid_to        timestamptz,
    user_id         text,
    status          text        NOT NULL,
    price           numeric,
    currency        text,
    "interval"      text        NOT NULL,
    interval_count  integer     NOT NULL,
    quantity        bigint      NOT NULL,
    monthly_amount  numeric     NOT NULL,
    -- Whether its monthly amount was above zero then or at any time before.
    was_paid        boolean     NOT NULL,
    event_type      text        NOT NULL,
    event_id        uuid        NOT NULL,
    event_user_id   text,
    PRIMARY KEY (company_id, subscription_id, valid_from),
    CONSTRAINT analytics_subscriptions_ends_after_it_begins CHECK (valid_to > valid_from)
);

CREATE INDEX IF NOT EXISTS analytics_subscriptions_valid_from_idx ON analytics_subscriptions (valid_from);
CREATE INDEX IF NOT EXISTS analytics_subscriptions_valid_to_idx ON analytics_subscriptions (valid_to);
CREATE INDEX IF NOT EXISTS analytics_subscriptions_user_idx ON analytics_subscriptions (company_id, user_id);

COMMENT ON TABLE analytics_subscriptions IS
    'Subscriptions as they were from valid_from up to, not including, valid_to (event time, UTC).';
COMMENT ON COLUMN analytics_subscriptions.monthly_amount IS
    'Price x quantity per month in the currency, fractions to 40 places; zero unless active or past_due.';
