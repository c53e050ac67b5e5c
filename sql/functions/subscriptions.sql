-- Subscriptions and their monthly recurring revenue, DEFINITIONS version 1.

CREATE OR REPLACE FUNCTION analytics_monthly_amount(
    p_status text, p_price numeric, p_interval text, p_interval_count integer, p_quantity bigint
)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    -- Price x quantity / months in the interval: a year has 12, a week 12/52, a day 12/365.
    SELECT CASE
        WHEN p_status IN ('active', 'past_due') THEN analytics_fraction(
            p_price * p_quantity,
            CASE p_interval WHEN 'week' THEN 52 WHEN 'day' THEN 365 ELSE 1 END,
            p_interval_count * CASE p_interval WHEN 'month' THEN 1 ELSE 12 END
        )
        ELSE 0
    END
$$;

COMMENT ON FUNCTION analytics_monthly_amount IS
    'Monthly recurring amount of a subscription: zero unless active or past_due.';

-- Which of several changes at the same instant counts: the later one in a subscription's life; whose it is, may
-- another of them have said. Events written past the ingestion may lack what makes a subscription; the check subscription_events names them.
CREATE OR REPLACE FUNCTION analytics_subscription_events(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (
    company_id text, subscription_id text, valid_from timestamptz, status text, price numeric, currency text,
    "interval" text, interval_count integer, quantity bigint, monthly_amount numeric, event_type text,
    event_id uuid, event_user_id text
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT DISTINCT ON (e.company_id, e.subscription_id, e."timestamp")
        e.company_id, e.subscription_id, e."timestamp", e.status, e.value, e.currency,
        e."interval", e.interval_count::integer, e.quantity::bigint,
        analytics_monthly_amount(
            e.status, e.value, e."interval", e.interval_count::integer, e.quantity::bigint
        ),
        e.event_type, e.event_id,
        coalesce(e.user_id, max(e.user_id) OVER (PARTITION BY e.company_id, e.subscription_id, e."timestamp"))
    FROM (
        SELECT
            s.*,
            s.metadata ->> 'subscription_id' AS subscription_id,
            s.metadata ->> 'status' AS status,
            s.metadata ->> 'interval' AS "interval",
            -- A number only where it is one, in whatever order the conditions are looked at.
            CASE WHEN s.metadata ->> 'interval_count' ~ '^[1-9][0-9]{0,3}$'
                 THEN s.metadata ->> 'interval_count' END AS interval_count,
            CASE WHEN s.metadata ->> 'quantity' ~ '^[0-9]{1,10}$'
                 THEN s.metadata ->> 'quantity' END AS quantity
        FROM analytics_events AS s
        WHERE s."timestamp" >= p_start AND s."timestamp" < p_end
          AND s.category = 'subscription'
          AND (p_company IS NULL OR s.company_id = p_company)
    ) AS e
    WHERE analytics_is_subscription_event(
        e.event_type, e.value, e.currency, e.subscription_id, e.status, e."interval", e.interval_count, e.quantity
    )
    ORDER BY
        e.company_id, e.subscription_id, e."timestamp",
        array_position(ARRAY[
            'subscription.started', 'subscription.changed', 'subscription.cancel_scheduled',
            'subscription.paused', 'subscription.resumed', 'subscription.past_due', 'subscription.ended'
        ], e.event_type) DESC,
        e.event_id DESC
$$;

COMMENT ON FUNCTION analytics_subscription_events IS
    'The changes of subscriptions in a half-open period, one a subscription and instant.';

CREATE OR REPLACE FUNCTION analytics_is_subscription_event(
    p_event_type text, p_value numeric, p_currency text, p_subscription_id text, p_status text,
    p_interval text, p_interval_count text, p_quantity text
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        p_event_type IN (
            'subscription.started', 'subscription.changed', 'subscription.paused', 'subscription.resumed',
            'subscription.past_due', 'subscription.cancel_scheduled', 'subscription.ended'
        )
        AND p_subscription_id <> ''
        AND p_interval IN ('day', 'week', 'month', 'year')
        AND p_interval_count ~ '^[1-9][0-9]{0,3}$'
        AND p_quantity ~ '^[0-9]{1,10}$'
        AND (
            p_status IN ('trialing', 'paused', 'ended')
            OR (p_status IN ('active', 'past_due') AND p_value >= 0 AND p_currency IS NOT NULL)
        ),
        false
    )
$$;

COMMENT ON FUNCTION analytics_is_subscription_event IS
    'Whether an event says all that a subscription''s change has to say.';

-- The rows of every subscription that the given event time touches, as they are when its events take the
-- place of whatever was stored of it. A function of the set of events: arrival order and repeats don't matter.
CREATE OR REPLACE FUNCTION analytics_relinked_subscriptions(p_company text, p_windows tstzmultirange)
RETURNS SETOF analytics_subscriptions
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH span AS MATERIALIZED (
        SELECT coalesce(lower(r), '-infinity') AS span_start, coalesce(upper(r), 'infinity') AS span_end
        FROM unnest(p_windows) AS r
    ),
    fresh AS MATERIALIZED (
        SELECT e.*
        FROM span AS p
        CROSS JOIN LATERAL analytics_subscription_events(p_company, p.span_start, p.span_end) AS e
    ),
    touched AS MATERIALIZED (
        SELECT f.company_id, f.subscription_id FROM fresh AS f
        UNION
        SELECT s.company_id, s.subscription_id
        FROM span AS p
        JOIN analytics_subscriptions AS s ON s.valid_from >= p.span_start AND s.valid_from < p.span_end
        WHERE p_company IS NULL OR s.company_id = p_company
    ),
    change AS (
        SELECT * FROM fresh
        UNION ALL
        SELECT
            s.company_id, s.subscription_id, s.valid_from, s.status, s.price, s.currency,
            s."interval", s.interval_count, s.quantity, s.monthly_amount, s.event_type,
            s.event_id, s.event_user_id
        FROM analytics_subscriptions AS s
        JOIN touched AS t ON t.company_id = s.company_id AND t.subscription_id = s.subscription_id
        WHERE NOT p_windows @> s.valid_from
    ),
    named AS (
        -- How many changes up to this one name a user: changes that don't are of the last one named.
        SELECT c.*, count(c.event_user_id) OVER life AS users_named
        FROM change AS c
        WINDOW life AS (PARTITION BY c.company_id, c.subscription_id ORDER BY c.valid_from)
    )
    SELECT
        n.company_id, n.subscription_id, n.valid_from,
        lead(n.valid_from) OVER life,
        CASE
            WHEN n.users_named > 0 THEN first_value(n.event_user_id) OVER (
                PARTITION BY n.company_id, n.subscription_id, n.users_named ORDER BY n.valid_from
            )
            ELSE first_value(n.event_user_id) OVER (
                PARTITION BY n.company_id, n.subscription_id ORDER BY n.event_user_id IS NULL, n.valid_from
            )
        END,
        n.status, n.price, n.currency, n."interval", n.interval_count, n.quantity, n.monthly_amount,
        bool_or(n.monthly_amount > 0) OVER life,
        n.event_type, n.event_id, n.event_user_id
    FROM named AS n
    WINDOW life AS (PARTITION BY n.company_id, n.subscription_id ORDER BY n.valid_from)
$$;

COMMENT ON FUNCTION analytics_relinked_subscriptions IS
    'What analytics_subscriptions must hold of the subscriptions that events or rows of some event time touch.';

-- All of them, whatever instant is asked for: whose a subscription is may be said by a later change.
CREATE OR REPLACE FUNCTION analytics_subscription_rows(p_company text)
RETURNS SETOF analytics_subscriptions
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH pending AS MATERIALIZED (
        SELECT *
        FROM analytics_relinked_subscriptions(
            p_company, analytics_open_windows('analytics_subscriptions', 'infinity')
        )
    )
    SELECT s.*
    FROM analytics_subscriptions AS s
    WHERE (p_company IS NULL OR s.company_id = p_company)
      AND NOT EXISTS (
          SELECT FROM pending AS p WHERE p.company_id = s.company_id AND p.subscription_id = s.subscription_id
      )
    UNION ALL
    SELECT p.* FROM pending AS p
$$;

COMMENT ON FUNCTION analytics_subscription_rows IS
    'analytics_subscriptions with the events that it has not taken in yet.';

-- A subscription that never named a user is a customer of its own.
CREATE OR REPLACE FUNCTION analytics_customer(p_user_id text, p_subscription_id text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce('user ' || p_user_id, 'subscription ' || p_subscription_id)
$$;

COMMENT ON FUNCTION analytics_customer IS
    'Who pays for a subscription, within its company.';

-- The state just before an instant: a change at the instant itself belongs to what follows.
CREATE OR REPLACE FUNCTION analytics_subscription_balances(p_company text, p_at timestamptz)
RETURNS TABLE (company_id text, customer text, currency text, mrr numeric)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT s.company_id, analytics_customer(s.user_id, s.subscription_id), s.currency, sum(s.monthly_amount)
    FROM analytics_subscription_rows(p_company) AS s
    WHERE s.valid_from < p_at AND (s.valid_to IS NULL OR s.valid_to >= p_at)
      AND s.monthly_amount > 0
    GROUP BY 1, 2, 3
$$;

COMMENT ON FUNCTION analytics_subscription_balances IS
    'Monthly recurring revenue just before an instant, per customer and currency, those above zero.';

CREATE OR REPLACE FUNCTION analytics_mrr_balances(
    p_company text, p_at timestamptz, p_rate_date date, p_currency text
)
RETURNS TABLE (company_id text, currency text, original numeric, converted numeric)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH balance AS MATERIALIZED (
        SELECT b.company_id, b.currency, sum(b.mrr) AS mrr
        FROM analytics_subscription_balances(p_company, p_at) AS b
        GROUP BY b.company_id, b.currency
    ),
    rate AS MATERIALIZED (
        SELECT k.currency, fx.numerator, fx.denominator
        FROM (SELECT DISTINCT b.currency FROM balance AS b) AS k
        CROSS JOIN LATERAL analytics_fx_rate(k.currency, p_currency, p_rate_date) AS fx
    )
    SELECT b.company_id, b.currency, b.mrr, analytics_fraction(b.mrr, r.numerator, r.denominator)
    FROM balance AS b
    LEFT JOIN rate AS r ON r.currency = b.currency
$$;

COMMENT ON FUNCTION analytics_mrr_balances IS
    'MRR just before an instant per company and original currency, converted at the rate of a day (null: none).';
