-- Subscriptions by version 2 of the definitions: which of several changes at one instant counts, and whose past is whose.
ALTER TABLE analytics_subscriptions
    ADD COLUMN IF NOT EXISTS decided_by_id boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS otherwise jsonb;

COMMENT ON COLUMN analytics_subscriptions.was_paid IS
    'Whether its monthly amount was above zero, for the user who has it, then or at any time before.';
COMMENT ON COLUMN analytics_subscriptions.decided_by_id IS
    'Whether of several changes at valid_from only the id decided which one counts.';
COMMENT ON COLUMN analytics_subscriptions.otherwise IS
    'The change that would count had the subscription run before valid_from where it did not, or the reverse; null: the same.';

-- Who got a subscription from somebody else has paid nothing of it before.
UPDATE analytics_subscriptions AS s
SET was_paid = p.was_paid
FROM (
    SELECT
        f.company_id, f.subscription_id, f.valid_from,
        bool_or(f.monthly_amount > 0) OVER (
            PARTITION BY f.company_id, f.subscription_id, f.user_id ORDER BY f.valid_from
        ) AS was_paid
    FROM analytics_subscriptions AS f
) AS p
WHERE s.company_id = p.company_id AND s.subscription_id = p.subscription_id AND s.valid_from = p.valid_from
  AND s.was_paid <> p.was_paid;

-- Every day whose events are still there is taken in again, and read from its events until then. Where they have
-- expired what is stored is all there is: before the retention policy's cut, before what was seen to be gone, and up
-- to the last row whose time no chunk holds any more.
UPDATE analytics_closed_windows AS c
SET windows = c.windows - tstzmultirange(tstzrange(
    date_trunc('day', horizon.at AT TIME ZONE 'UTC' + interval '1 day' - interval '1 microsecond') AT TIME ZONE 'UTC',
    NULL
))
FROM (
    SELECT greatest(
        (SELECT max(now() - (j.config ->> 'drop_after')::interval)
         FROM timescaledb_information.jobs AS j
         WHERE j.proc_name = 'policy_retention' AND j.hypertable_name = 'analytics_events'),
        (SELECT max(h.events_from) FROM analytics_retention_horizon AS h),
        (SELECT max(s.valid_from) + interval '1 microsecond'
         FROM analytics_subscriptions AS s
         WHERE NOT EXISTS (
             SELECT
             FROM timescaledb_information.chunks AS k
             WHERE k.hypertable_name = 'analytics_events'
               AND k.range_start <= s.valid_from AND k.range_end > s.valid_from
         ))
    ) AS at
) AS horizon
WHERE c.relation = 'analytics_subscriptions';

-- Their result or their parameters are others now.
DROP FUNCTION IF EXISTS analytics_as_of(text, timestamptz);
DROP FUNCTION IF EXISTS analytics_data_through(text);
DROP FUNCTION IF EXISTS analytics_fx_legs(text, date);
DROP FUNCTION IF EXISTS analytics_subscription_events(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_converted_revenue(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_revenue_metrics_by_company(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_unconverted(text, timestamptz, timestamptz, text);
