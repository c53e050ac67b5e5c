-- Balances that analytics_subscriptions gives just before some instants: a later one is that of the last of these, with
-- what has changed since. So a day costs no more to close when the history is longer.
CREATE TABLE IF NOT EXISTS analytics_mrr_snapshots (
    taken_at   timestamptz NOT NULL,
    company_id text        NOT NULL,
    -- NULL: how many customers pay, in whatever currency.
    currency   text,
    mrr        numeric     NOT NULL,
    customers  bigint      NOT NULL,
    UNIQUE NULLS NOT DISTINCT (taken_at, company_id, currency)
);

COMMENT ON TABLE analytics_mrr_snapshots IS
    'Monthly recurring revenue and paying customers that analytics_subscriptions gives just before some instants (event time, UTC).';

-- analytics_close_subscriptions knows from when on it changes them. Whoever else writes there says nothing.
CREATE OR REPLACE FUNCTION analytics_forget_mrr_snapshots()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce(current_setting('analytics.keeps_mrr_snapshots', true), '') <> 'on' THEN
        DELETE FROM analytics_mrr_snapshots;
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS analytics_forget_mrr_snapshots ON analytics_subscriptions;
CREATE TRIGGER analytics_forget_mrr_snapshots
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON analytics_subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION analytics_forget_mrr_snapshots();
