-- Subscriptions and their monthly recurring revenue.

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
    WITH stated AS MATERIALIZED (
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
        FROM stated AS t
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
    FROM stated AS t
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

-- Whatever instant is asked for: whose a subscription is may be said by a later change.
CREATE OR REPLACE FUNCTION analytics_pending_subscriptions(p_companies text[])
RETURNS analytics_subscriptions[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    open_windows tstzmultirange := analytics_open_windows('analytics_subscriptions', 'infinity');
    open_window tstzrange;
    company text := CASE WHEN cardinality(p_companies) = 1 THEN p_companies[1] END;
    pending analytics_subscriptions[] := '{}';
BEGIN
    FOR open_window IN SELECT unnest(open_windows) LOOP
        -- As a rule there is nothing, and that is found out without opening a chunk.
        IF EXISTS (
            SELECT FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(open_window), '-infinity')
              AND e."timestamp" < coalesce(upper(open_window), 'infinity')
              AND e.category = 'subscription'
              AND (p_companies IS NULL OR e.company_id = ANY (p_companies))
        ) OR EXISTS (
            SELECT FROM analytics_subscriptions AS s
            WHERE s.valid_from >= coalesce(lower(open_window), '-infinity')
              AND s.valid_from < coalesce(upper(open_window), 'infinity')
              AND (p_companies IS NULL OR s.company_id = ANY (p_companies))
        ) THEN
            SELECT array_agg(s) INTO pending
            FROM analytics_relinked_subscriptions(company, open_windows) AS s
            WHERE p_companies IS NULL OR s.company_id = ANY (p_companies);
            RETURN coalesce(pending, '{}');
        END IF;
    END LOOP;
    RETURN pending;
END
$$;

COMMENT ON FUNCTION analytics_pending_subscriptions IS
    'All rows of the subscriptions with events that analytics_subscriptions has not taken in yet, as they are with them.';

-- A row that only ends elsewhere than before is as it was up to the earlier of the two ends, and one that only names another
-- event, one of the same instant, changes no figure.
CREATE OR REPLACE FUNCTION analytics_row_changed_from(p_now analytics_subscriptions, p_before analytics_subscriptions)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN (
            (p_now).company_id, (p_now).user_id, (p_now).status, (p_now).currency, (p_now).monthly_amount,
            (p_now).was_paid
        ) IS DISTINCT FROM (
            (p_before).company_id, (p_before).user_id, (p_before).status, (p_before).currency,
            (p_before).monthly_amount, (p_before).was_paid
        )
        THEN coalesce((p_now).valid_from, (p_before).valid_from)
        WHEN (p_now).valid_to IS DISTINCT FROM (p_before).valid_to
        THEN least((p_now).valid_to, (p_before).valid_to)
    END
$$;

COMMENT ON FUNCTION analytics_row_changed_from IS
    'From when on a row of a subscription says something else than the one it takes the place of (either may be missing); null: it says the same.';

CREATE OR REPLACE FUNCTION analytics_pending_from(p_pending analytics_subscriptions[])
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH pending AS MATERIALIZED (
        SELECT p.* FROM unnest(p_pending) AS p
    ),
    stored AS MATERIALIZED (
        SELECT s.*
        FROM (SELECT DISTINCT p.company_id, p.subscription_id FROM pending AS p) AS k
        JOIN analytics_subscriptions AS s ON s.company_id = k.company_id AND s.subscription_id = k.subscription_id
    )
    SELECT min(analytics_row_changed_from(ROW(p.*)::analytics_subscriptions, ROW(s.*)::analytics_subscriptions))
    FROM pending AS p
    FULL JOIN stored AS s
        ON s.company_id = p.company_id AND s.subscription_id = p.subscription_id AND s.valid_from = p.valid_from
$$;

COMMENT ON FUNCTION analytics_pending_from IS
    'The first instant from which pending subscriptions say something else than what is stored of them; null: they say the same.';

CREATE OR REPLACE FUNCTION analytics_subscription_rows(p_companies text[], p_pending analytics_subscriptions[])
RETURNS SETOF analytics_subscriptions
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Named once: where nothing is closed it is long, and a plan has a copy for each time.
    WITH pending AS MATERIALIZED (
        SELECT p.* FROM unnest(p_pending) AS p
    )
    SELECT s.*
    FROM analytics_subscriptions AS s
    WHERE (p_companies IS NULL OR s.company_id = ANY (p_companies))
      AND NOT EXISTS (
          SELECT FROM pending AS p WHERE p.company_id = s.company_id AND p.subscription_id = s.subscription_id
      )
    UNION ALL
    SELECT p.* FROM pending AS p
$$;

COMMENT ON FUNCTION analytics_subscription_rows IS
    'analytics_subscriptions with the pending ones in the place of what is stored of them; null: of all companies.';

-- A subscription that never named a user is a customer of its own.
CREATE OR REPLACE FUNCTION analytics_customer(p_user_id text, p_subscription_id text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce('user ' || p_user_id, 'subscription ' || p_subscription_id)
$$;

COMMENT ON FUNCTION analytics_customer IS
    'Who pays for a subscription, within its company.';

-- Who had a change in a half-open period, with all that they pay or have paid; without a start everybody who pays or has
-- paid, as far as that reaches to the first of the instants that are asked for.
CREATE OR REPLACE FUNCTION analytics_paid_amounts(
    p_start timestamptz, p_first timestamptz, p_end timestamptz, p_companies text[],
    p_pending analytics_subscriptions[]
)
RETURNS TABLE (
    company_id text, customer text, currency text, monthly_amount numeric, valid_from timestamptz, valid_to timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    companies text[];
    users text[];
    lone_subscriptions text[];
BEGIN
    IF p_start IS NULL THEN
        RETURN QUERY
        SELECT
            s.company_id, analytics_customer(s.user_id, s.subscription_id),
            s.currency, s.monthly_amount, s.valid_from, s.valid_to
        FROM analytics_subscription_rows(p_companies, p_pending) AS s
        WHERE s.monthly_amount > 0 AND s.valid_from < p_end AND (s.valid_to IS NULL OR s.valid_to >= p_first);
        RETURN;
    END IF;
    SELECT array_agg(c.company_id), array_agg(c.user_id), array_agg(c.lone_subscription)
    INTO companies, users, lone_subscriptions
    FROM (
        SELECT s.company_id, s.user_id, CASE WHEN s.user_id IS NULL THEN s.subscription_id END AS lone_subscription
        FROM analytics_subscriptions AS s
        WHERE s.valid_from >= p_start AND s.valid_from < p_end
          AND (p_companies IS NULL OR s.company_id = ANY (p_companies))
        UNION
        SELECT s.company_id, s.user_id, CASE WHEN s.user_id IS NULL THEN s.subscription_id END
        FROM analytics_subscriptions AS s
        WHERE s.valid_to >= p_start AND s.valid_to < p_end
          AND (p_companies IS NULL OR s.company_id = ANY (p_companies))
    ) AS c;
    RETURN QUERY
    SELECT l.company_id, l.customer, l.currency, l.monthly_amount, l.valid_from, l.valid_to
    FROM analytics_customer_lives(companies, users, lone_subscriptions, p_pending) AS l
    WHERE l.monthly_amount > 0 AND l.valid_from < p_end;
END
$$;

COMMENT ON FUNCTION analytics_paid_amounts IS
    'What customers pay a month, from when to when: those with a change in a half-open period, or (no start) all of them.';

-- The state just before each instant: a change at the instant itself belongs to what follows. Instants are sorted and
-- named by their number. Those that have a snapshot are read from it. What a customer pays is counted from the first of the
-- other instants at which it is paid to the last. What was so at the newest snapshot before them counts from there, and then
-- only what has changed since.
CREATE OR REPLACE FUNCTION analytics_mrr_balances(
    p_instants timestamptz[], p_companies text[], p_pending analytics_subscriptions[]
)
RETURNS TABLE (company_id text, currency text, instant integer, mrr numeric, customers bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- A subscription that is pending may have been another customer's even then.
    has_snapshots boolean := cardinality(p_pending) = 0;
    -- The numbers of the instants without one.
    places integer[] := ARRAY(
        SELECT i.place::integer
        FROM unnest(p_instants) WITH ORDINALITY AS i (instant, place)
        WHERE NOT has_snapshots
           OR NOT EXISTS (SELECT FROM analytics_mrr_snapshots AS s WHERE s.taken_at = i.instant)
        ORDER BY i.place
    );
    first_instant timestamptz := p_instants[places[1]];
    last_instant timestamptz := p_instants[places[cardinality(places)]];
    taken timestamptz := CASE
        WHEN has_snapshots
        THEN (SELECT max(s.taken_at) FROM analytics_mrr_snapshots AS s WHERE s.taken_at <= first_instant)
    END;
    instants timestamptz[];
    shift integer := CASE WHEN taken IS NULL THEN 0 ELSE 1 END;
BEGIN
    IF cardinality(places) < cardinality(p_instants) THEN
        RETURN QUERY
        SELECT s.company_id, s.currency, i.place::integer, s.mrr, s.customers
        FROM unnest(p_instants) WITH ORDINALITY AS i (instant, place)
        JOIN analytics_mrr_snapshots AS s ON s.taken_at = i.instant
        WHERE (p_companies IS NULL OR s.company_id = ANY (p_companies)) AND (s.mrr > 0 OR s.customers > 0);
    END IF;
    IF cardinality(places) = 0 THEN
        RETURN;
    END IF;
    instants := ARRAY(SELECT taken WHERE taken IS NOT NULL)
        || ARRAY(SELECT p_instants[n] FROM unnest(places) WITH ORDINALITY AS k (n, place) ORDER BY k.place);
    RETURN QUERY
    WITH paid AS MATERIALIZED (
        SELECT s.company_id, s.customer, s.currency, s.monthly_amount, s.first_instant, s.last_instant
        FROM (
            SELECT
                f.company_id, f.customer, f.currency, f.monthly_amount,
                width_bucket(f.valid_from, instants) + 1 AS first_instant,
                CASE
                    WHEN f.valid_to IS NULL THEN cardinality(instants)
                    ELSE width_bucket(f.valid_to, instants)
                END AS last_instant
            FROM analytics_paid_amounts(taken, first_instant, last_instant, p_companies, p_pending) AS f
        ) AS s
        WHERE s.first_instant <= s.last_instant
    ),
    paying AS (
        SELECT c.company_id, unnest(c.instants) AS instants
        FROM (
            SELECT p.company_id, range_agg(int4range(p.first_instant, p.last_instant + 1)) AS instants
            FROM paid AS p
            GROUP BY p.company_id, p.customer
        ) AS c
    ),
    -- From which instant on up to which: as a rule many are alike.
    stretch AS (
        SELECT
            p.company_id, p.currency, p.first_instant, p.last_instant + 1 AS end_instant, sum(p.monthly_amount) AS amount,
            0 AS heads
        FROM paid AS p
        GROUP BY p.company_id, p.currency, p.first_instant, p.last_instant
        UNION ALL
        SELECT p.company_id, NULL, lower(p.instants), upper(p.instants), 0, count(*)
        FROM paying AS p
        GROUP BY p.company_id, p.instants
    ),
    step AS (
        SELECT v.company_id, v.currency, v.instant, sum(v.amount) AS amount, sum(v.heads) AS heads
        FROM (
            SELECT t.company_id, t.currency, v.instant, v.amount, v.heads
            FROM stretch AS t
            CROSS JOIN LATERAL (
                VALUES (t.first_instant, t.amount, t.heads), (t.end_instant, -t.amount, -t.heads)
            ) AS v (instant, amount, heads)
            WHERE taken IS NULL OR v.instant > 1
            UNION ALL
            SELECT s.company_id, s.currency, 1, s.mrr, s.customers
            FROM analytics_mrr_snapshots AS s
            WHERE s.taken_at = taken AND (p_companies IS NULL OR s.company_id = ANY (p_companies))
        ) AS v
        GROUP BY v.company_id, v.currency, v.instant
    ),
    running AS (
        SELECT
            s.company_id, s.currency, s.instant,
            lead(s.instant, 1, cardinality(instants) + 1) OVER history AS until,
            sum(s.amount) OVER history AS mrr, sum(s.heads) OVER history AS heads
        FROM step AS s
        WINDOW history AS (PARTITION BY s.company_id, s.currency ORDER BY s.instant)
    )
    SELECT r.company_id, r.currency, places[n], r.mrr, r.heads::bigint
    FROM running AS r
    CROSS JOIN LATERAL generate_series(greatest(r.instant - shift, 1), r.until - 1 - shift) AS n
    WHERE r.mrr > 0 OR r.heads > 0;
END
$$;

COMMENT ON FUNCTION analytics_mrr_balances IS
    'Monthly recurring revenue just before each of some instants, per company and currency, and in a row without currency how many customers pay.';

-- What is asked of all companies and needs no rate is added up at once: its company is null.
CREATE OR REPLACE FUNCTION analytics_mrr_at_end(
    p_periods analytics_figure_period[], p_pending analytics_subscriptions[]
)
RETURNS TABLE (
    place bigint, company_id text, currency text, day date, original numeric,
    numerator numeric, denominator numeric, converted numeric, customers bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    instants timestamptz[] := ARRAY(SELECT DISTINCT w.period_end FROM unnest(p_periods) AS w ORDER BY w.period_end);
    -- Only balances of periods that are not over depend on it.
    data_through timestamptz := CASE WHEN instants[cardinality(instants)] > now() THEN analytics_data_through() END;
    test_companies text[] := analytics_test_companies();
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            w.place, w.company_id, w.currency, width_bucket(w.period_end, instants) AS instant,
            analytics_balance_date(w.period_start, w.period_end, data_through, w.time_zone) AS day
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    ),
    balance AS MATERIALIZED (
        SELECT b.*
        FROM analytics_mrr_balances(instants, analytics_period_companies(p_periods), p_pending) AS b
    ),
    held AS MATERIALIZED (
        SELECT a.place, b.company_id, b.currency, a.currency AS target, a.day, b.mrr, b.customers
        FROM balance AS b
        JOIN asked AS a ON a.company_id = b.company_id AND a.instant = b.instant
        UNION ALL
        SELECT a.place, b.company_id, b.currency, a.currency, a.day, b.mrr, b.customers
        FROM balance AS b
        JOIN asked AS a ON a.instant = b.instant
        WHERE a.company_id IS NULL AND b.company_id <> ALL (test_companies) AND b.currency <> a.currency
        UNION ALL
        SELECT a.place, NULL, t.currency, a.currency, a.day, t.mrr, t.customers
        FROM (
            SELECT b.currency, b.instant, sum(b.mrr) AS mrr, sum(b.customers)::bigint AS customers
            FROM balance AS b
            WHERE b.company_id <> ALL (test_companies)
            GROUP BY b.currency, b.instant
        ) AS t
        JOIN asked AS a ON a.instant = t.instant
        WHERE a.company_id IS NULL AND (t.currency = a.currency OR t.currency IS NULL)
    ),
    rate AS MATERIALIZED (
        SELECT fx.*
        FROM (
            SELECT array_agg(k.currency) AS currencies, array_agg(k.target) AS targets, array_agg(k.day) AS days
            FROM (SELECT DISTINCT h.currency, h.target, h.day FROM held AS h WHERE h.currency IS NOT NULL) AS k
        ) AS n
        CROSS JOIN LATERAL analytics_fx_rates_of_days(n.currencies, n.targets, n.days) AS fx
    )
    SELECT
        h.place, h.company_id, h.currency, h.day, h.mrr, r.numerator, r.denominator,
        analytics_fraction(h.mrr, r.numerator, r.denominator), h.customers
    FROM held AS h
    LEFT JOIN rate AS r ON r.currency = h.currency AND r.target = h.target AND r.day = h.day;
END
$$;

COMMENT ON FUNCTION analytics_mrr_at_end IS
    'MRR just before the end of each period, per company (null: all of them) and original currency, at the rate of its day (null: none), and in a row without currency how many customers pay.';
