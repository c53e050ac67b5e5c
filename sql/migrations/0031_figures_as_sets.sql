-- Figures are asked for many periods and companies at once: what answered for one period at a time goes, and what has
-- the name of a function that takes something else now.
DROP FUNCTION IF EXISTS analytics_revenue_days(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_invoiced_days(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_converted_revenue(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_revenue_metrics_by_company(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_total_users_by_company(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_revenue_metrics(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_balance_date(timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_subscription_rows(text);
DROP FUNCTION IF EXISTS analytics_subscription_balances(text, timestamptz);
DROP FUNCTION IF EXISTS analytics_mrr_balances(text, timestamptz, date, text);
DROP FUNCTION IF EXISTS analytics_mrr_parts(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_customer_movements(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_mrr_movements_by_company(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_mrr_movements(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_unconverted(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_unconverted_list(text, timestamptz, timestamptz, text, text[]);

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
