-- Subscriptions and their monthly recurring revenue, DEFINITIONS version 2.

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

-- Several changes at one instant are ordered: by the sequence their source gives where each has one, else an end comes
-- first if the subscription ran before and last if it did not, else by arrival, else by id; the last one counts. So an
-- instant has up to two rows, one for either case (ran_before), where that makes a difference. Whose the subscription
-- is may be said by an earlier one of them. Events written past the ingestion may lack what makes a subscription; the
-- check subscription_events names them.
CREATE OR REPLACE FUNCTION analytics_subscription_events(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (
    company_id text, subscription_id text, valid_from timestamptz, status text, price numeric, currency text,
    "interval" text, interval_count integer, quantity bigint, monthly_amount numeric, event_type text,
    event_id uuid, event_user_id text, decided_by_id boolean, ran_before boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH told AS MATERIALIZED (
        SELECT v.*, count(*) OVER instant AS together, count(v.sequence) OVER instant AS in_sequence
        FROM analytics_complete_changes(p_company, p_start, p_end) AS v
        WINDOW instant AS (PARTITION BY v.company_id, v.subscription_id, v."timestamp")
    ),
    several AS (
        SELECT
            t.*,
            t.status = 'ended' AS is_end,
            CASE WHEN t.in_sequence = t.together THEN t.sequence END AS place,
            ROW(
                t.status, trim_scale(t.value), t.currency, t."interval", t.interval_count, t.quantity
            )::text COLLATE "C" AS says
        FROM told AS t
        WHERE t.together > 1
    ),
    ordered AS (
        SELECT
            e.*,
            row_number() OVER (
                instant ORDER BY e.place DESC, e.is_end, e.ingested_at DESC, e.event_id DESC
            ) = 1 AS counts_if_ran,
            row_number() OVER (
                instant ORDER BY e.place DESC, e.is_end DESC, e.ingested_at DESC, e.event_id DESC
            ) = 1 AS counts_if_not,
            first_value(e.user_id) OVER (
                instant ORDER BY e.user_id IS NULL, e.place DESC, e.is_end, e.ingested_at DESC, e.event_id DESC
            ) AS user_if_ran,
            first_value(e.user_id) OVER (
                instant ORDER BY e.user_id IS NULL, e.place DESC, e.is_end DESC, e.ingested_at DESC, e.event_id DESC
            ) AS user_if_not,
            -- Of changes that say the same it doesn't matter which one counts.
            min(e.says) OVER tied <> max(e.says) OVER tied
                OR coalesce(min(e.user_id) OVER tied <> max(e.user_id) OVER tied, false) AS decided_by_id
        FROM several AS e
        WINDOW
            instant AS (PARTITION BY e.company_id, e.subscription_id, e."timestamp"),
            tied AS (PARTITION BY e.company_id, e.subscription_id, e."timestamp", e.place, e.is_end, e.ingested_at)
    ),
    last AS (
        SELECT
            o.*,
            o.counts_if_ran AND o.counts_if_not AND o.user_if_ran IS NOT DISTINCT FROM o.user_if_not AS counts_always
        FROM ordered AS o
        WHERE o.counts_if_ran OR o.counts_if_not
    )
    SELECT
        t.company_id, t.subscription_id, t."timestamp", t.status, t.value, t.currency,
        t."interval", t.interval_count, t.quantity,
        analytics_monthly_amount(t.status, t.value, t."interval", t.interval_count, t.quantity),
        t.event_type, t.event_id, t.user_id, false, NULL::boolean
    FROM told AS t
    WHERE t.together = 1
    UNION ALL
    SELECT
        l.company_id, l.subscription_id, l."timestamp", l.status, l.value, l.currency,
        l."interval", l.interval_count, l.quantity,
        analytics_monthly_amount(l.status, l.value, l."interval", l.interval_count, l.quantity),
        l.event_type, l.event_id, c.event_user_id, l.decided_by_id,
        CASE WHEN NOT l.counts_always THEN c.ran_before END
    FROM last AS l
    CROSS JOIN LATERAL (
        VALUES
            (true, l.counts_if_ran, l.user_if_ran),
            (false, l.counts_if_not AND NOT l.counts_always, l.user_if_not)
    ) AS c (ran_before, counts, event_user_id)
    WHERE c.counts
$$;

COMMENT ON FUNCTION analytics_subscription_events IS
    'The changes of subscriptions in a half-open period: one row a subscription and instant, two where it matters whether the subscription ran before.';

CREATE OR REPLACE FUNCTION analytics_complete_changes(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (
    company_id text, subscription_id text, "timestamp" timestamptz, event_id uuid, event_type text, user_id text,
    status text, value numeric, currency text, "interval" text, interval_count integer, quantity bigint,
    sequence numeric, ingested_at timestamptz
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        e.company_id, e.subscription_id, e."timestamp", e.event_id, e.event_type, e.user_id,
        e.status, e.value, e.currency, e."interval", e.interval_count::integer, e.quantity::bigint,
        e.sequence::numeric, e.ingested_at
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
                 THEN s.metadata ->> 'quantity' END AS quantity,
            CASE WHEN s.metadata ->> 'sequence' ~ '^-?[0-9]{1,40}([.][0-9]{1,40})?$'
                 THEN s.metadata ->> 'sequence' END AS sequence
        FROM analytics_events AS s
        WHERE s."timestamp" >= p_start AND s."timestamp" < p_end
          AND s.category = 'subscription'
          AND (p_company IS NULL OR s.company_id = p_company)
    ) AS e
    WHERE analytics_is_subscription_event(
        e.event_type, e.value, e.currency, e.subscription_id, e.status, e."interval", e.interval_count, e.quantity
    )
$$;

COMMENT ON FUNCTION analytics_complete_changes IS
    'The events of a half-open period that say all that a subscription''s change has to say.';

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
    stored AS MATERIALIZED (
        SELECT s.*
        FROM analytics_subscriptions AS s
        JOIN touched AS t ON t.company_id = s.company_id AND t.subscription_id = s.subscription_id
        WHERE NOT p_windows @> s.valid_from
    ),
    change AS (
        SELECT * FROM fresh
        UNION ALL
        SELECT
            s.company_id, s.subscription_id, s.valid_from, s.status, s.price, s.currency,
            s."interval", s.interval_count, s.quantity, s.monthly_amount, s.event_type,
            s.event_id, s.event_user_id, s.decided_by_id, NOT (s.otherwise ->> 'ran_before')::boolean
        FROM stored AS s
        UNION ALL
        SELECT
            s.company_id, s.subscription_id, s.valid_from, o.status, o.price, o.currency,
            o."interval", o.interval_count, o.quantity, o.monthly_amount, o.event_type,
            o.event_id, o.event_user_id, o.decided_by_id, (s.otherwise ->> 'ran_before')::boolean
        FROM stored AS s
        CROSS JOIN LATERAL jsonb_populate_record(NULL::analytics_subscriptions, s.otherwise) AS o
        WHERE s.otherwise IS NOT NULL
    ),
    paired AS (
        SELECT
            c.*,
            coalesce(lag(c.itself) OVER either_case, lead(c.itself) OVER either_case) AS otherwise
        FROM (
            SELECT
                f.*,
                CASE WHEN f.ran_before IS NOT NULL
                     THEN to_jsonb(f) - ARRAY['company_id', 'subscription_id', 'valid_from'] END AS itself
            FROM change AS f
        ) AS c
        WINDOW either_case AS (
            PARTITION BY c.company_id, c.subscription_id, c.valid_from ORDER BY c.ran_before
        )
    ),
    settled AS (
        -- Whether it runs from then on; null: as before.
        SELECT
            p.*,
            CASE WHEN p.otherwise IS NULL OR (p.otherwise ->> 'status' = 'ended') = (p.status = 'ended')
                 THEN p.status <> 'ended' END AS runs
        FROM paired AS p
    ),
    judged AS (
        SELECT
            p.*,
            coalesce(max(p.valid_from) FILTER (WHERE p.runs) OVER before, '-infinity')
                > coalesce(max(p.valid_from) FILTER (WHERE NOT p.runs) OVER before, '-infinity') AS ran
        FROM settled AS p
        WINDOW before AS (
            PARTITION BY p.company_id, p.subscription_id ORDER BY p.valid_from
            GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
    ),
    named AS (
        -- How many changes up to this one name a user: changes that don't are of the last one named.
        SELECT j.*, count(j.event_user_id) OVER life AS users_named
        FROM judged AS j
        WHERE j.ran_before IS NULL OR j.ran_before = j.ran
        WINDOW life AS (PARTITION BY j.company_id, j.subscription_id ORDER BY j.valid_from)
    ),
    owned AS (
        SELECT
            n.*,
            lead(n.valid_from) OVER life AS valid_to,
            CASE
                WHEN n.users_named > 0 THEN first_value(n.event_user_id) OVER (
                    PARTITION BY n.company_id, n.subscription_id, n.users_named ORDER BY n.valid_from
                )
                ELSE first_value(n.event_user_id) OVER (
                    PARTITION BY n.company_id, n.subscription_id ORDER BY n.event_user_id IS NULL, n.valid_from
                )
            END AS user_id
        FROM named AS n
        WINDOW life AS (PARTITION BY n.company_id, n.subscription_id ORDER BY n.valid_from)
    )
    SELECT
        o.company_id, o.subscription_id, o.valid_from, o.valid_to, o.user_id,
        o.status, o.price, o.currency, o."interval", o.interval_count, o.quantity, o.monthly_amount,
        -- Of the one who has it: a new holder has paid nothing yet.
        bool_or(o.monthly_amount > 0) OVER (
            PARTITION BY o.company_id, o.subscription_id, o.user_id ORDER BY o.valid_from
        ),
        o.event_type, o.event_id, o.event_user_id, o.decided_by_id, o.otherwise
    FROM owned AS o
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
