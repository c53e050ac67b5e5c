-- How monthly recurring revenue moved from a period's start to its end.
-- Per customer and period, net: what was gained and lost again within it is no movement.

-- A change in several currencies, or on several days, is converted day by day: the net in a currency at the
-- average rate of the changes that go its way, since those of the other way only cancel some of them. What a customer
-- pays in a currency is left out of all parts when one of them lacks a rate, or the rest, fx, would hold it.
-- Nested loops are off: what comes out of one step is many more rows than the planner thinks.
CREATE OR REPLACE FUNCTION analytics_mrr_moves(
    p_periods analytics_figure_period[], p_pending analytics_subscriptions[]
)
RETURNS TABLE (
    place bigint, company_id text, customer text, user_id text, lone_subscription text, currency text,
    net numeric, converted numeric, first_day date, last_day date
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    bounds timestamptz[] := analytics_period_bounds(p_periods);
    companies text[] := analytics_period_companies(p_periods);
    first_bound timestamptz := bounds[1];
    last_bound timestamptz := bounds[cardinality(bounds)];
    test_companies text[] := analytics_test_companies();
    targets text[] := ARRAY(SELECT DISTINCT w.currency FROM unnest(p_periods) AS w);
    -- What is not asked for is not joined either.
    asks_one boolean := EXISTS (SELECT FROM unnest(p_periods) AS w WHERE w.company_id IS NOT NULL);
    asks_all boolean := EXISTS (SELECT FROM unnest(p_periods) AS w WHERE w.company_id IS NULL);
BEGIN
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            w.place, w.company_id, w.currency, w.time_zone,
            generate_series(
                width_bucket(w.period_start, bounds), width_bucket(w.period_end, bounds) - 1
            ) AS stretch
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    ),
    -- Read twice rather than kept: as a rule all is in one currency.
    change AS NOT MATERIALIZED (
        SELECT
            f.company_id, f.user_id, CASE WHEN f.user_id IS NULL THEN f.subscription_id END AS lone_subscription,
            f.currency, f.valid_from AS changed_at, width_bucket(f.valid_from, bounds) AS stretch,
            f.monthly_amount AS amount
        FROM analytics_subscription_rows(companies, p_pending) AS f
        WHERE f.monthly_amount > 0 AND f.valid_from >= first_bound AND f.valid_from < last_bound
        UNION ALL
        SELECT
            f.company_id, f.user_id, CASE WHEN f.user_id IS NULL THEN f.subscription_id END,
            f.currency, f.valid_to, width_bucket(f.valid_to, bounds), -f.monthly_amount
        FROM analytics_subscription_rows(companies, p_pending) AS f
        WHERE f.monthly_amount > 0 AND f.valid_to >= first_bound AND f.valid_to < last_bound
    ),
    -- In the currency that is reported in only the net counts, and no day.
    summed AS MATERIALIZED (
        SELECT c.company_id, c.user_id, c.lone_subscription, c.currency, c.stretch, sum(c.amount) AS amount
        FROM change AS c
        WHERE c.currency = ANY (targets)
        GROUP BY c.company_id, c.user_id, c.lone_subscription, c.currency, c.stretch
        HAVING sum(c.amount) <> 0
    ),
    dated AS MATERIALIZED (
        SELECT
            c.company_id, c.user_id, c.lone_subscription, c.currency, c.stretch, c.changed_at, sum(c.amount) AS amount
        FROM change AS c
        WHERE cardinality(targets) > 1 OR c.currency <> targets[1]
        GROUP BY c.company_id, c.user_id, c.lone_subscription, c.currency, c.stretch, c.changed_at
        HAVING sum(c.amount) <> 0
    ),
    moving AS MATERIALIZED (
        SELECT a.place, a.currency AS target, analytics_date_in(c.changed_at, a.time_zone) AS day, c.*
        FROM dated AS c
        JOIN asked AS a ON a.company_id = c.company_id AND a.stretch = c.stretch
        WHERE asks_one AND a.currency <> c.currency
        UNION ALL
        SELECT a.place, a.currency, analytics_date_in(c.changed_at, a.time_zone), c.*
        FROM dated AS c
        JOIN asked AS a ON a.stretch = c.stretch
        WHERE asks_all AND a.company_id IS NULL AND c.company_id <> ALL (test_companies) AND a.currency <> c.currency
    ),
    rate AS MATERIALIZED (
        SELECT fx.*
        FROM (
            SELECT array_agg(k.currency) AS currencies, array_agg(k.target) AS targets, array_agg(k.day) AS days
            FROM (SELECT DISTINCT m.currency, m.target, m.day FROM moving AS m) AS k
        ) AS n
        CROSS JOIN LATERAL analytics_fx_rates_of_days(n.currencies, n.targets, n.days) AS fx
    ),
    directed AS (
        SELECT
            m.*, analytics_fraction(m.amount, r.numerator, r.denominator) AS converted,
            sum(m.amount) OVER (
                PARTITION BY m.place, m.company_id, m.user_id, m.lone_subscription, m.currency
            ) AS net
        FROM moving AS m
        LEFT JOIN rate AS r ON r.currency = m.currency AND r.target = m.target AND r.day = m.day
    ),
    net AS (
        SELECT
            n.place, n.company_id, n.user_id, n.lone_subscription, n.currency,
            sum(n.amount) AS net, sum(n.amount) AS converted, NULL::date AS first_day, NULL::date AS last_day
        FROM (
            SELECT a.place, c.*
            FROM summed AS c
            JOIN asked AS a ON a.company_id = c.company_id AND a.stretch = c.stretch AND a.currency = c.currency
            WHERE asks_one
            UNION ALL
            SELECT a.place, c.*
            FROM summed AS c
            JOIN asked AS a ON a.stretch = c.stretch AND a.currency = c.currency
            WHERE asks_all AND a.company_id IS NULL AND c.company_id <> ALL (test_companies)
        ) AS n
        GROUP BY n.place, n.company_id, n.user_id, n.lone_subscription, n.currency
        HAVING sum(n.amount) <> 0
        UNION ALL
        SELECT
            d.place, d.company_id, d.user_id, d.lone_subscription, d.currency, d.net,
            CASE
                WHEN bool_or(d.converted IS NULL) THEN NULL
                WHEN sum(d.amount) = d.net THEN sum(d.converted)
                ELSE analytics_fraction(sum(d.converted), d.net, sum(d.amount))
            END,
            -- Days without a rate, if that is what it lacks.
            coalesce(min(d.day) FILTER (WHERE d.converted IS NULL), min(d.day)),
            coalesce(max(d.day) FILTER (WHERE d.converted IS NULL), max(d.day))
        FROM directed AS d
        WHERE sign(d.amount) = sign(d.net)
        GROUP BY d.place, d.company_id, d.user_id, d.lone_subscription, d.currency, d.target, d.net
    )
    SELECT
        n.place, n.company_id, analytics_customer(n.user_id, n.lone_subscription), n.user_id, n.lone_subscription,
        n.currency, n.net, n.converted, n.first_day, n.last_day
    FROM net AS n;
END
$$;

COMMENT ON FUNCTION analytics_mrr_moves IS
    'What each customer pays more or less at the end of each period than at its start, per currency: net, and converted (null: a rate is missing); with the days of what is converted.';

-- Few customers are looked up, many are read with all others.
CREATE OR REPLACE FUNCTION analytics_customer_lives(
    p_companies text[], p_users text[], p_lone_subscriptions text[], p_pending analytics_subscriptions[]
)
RETURNS TABLE (
    company_id text, customer text, currency text, monthly_amount numeric,
    valid_from timestamptz, valid_to timestamptz, status text, was_paid boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = on
-- A page more or less is no reason to read all customers there are.
SET random_page_cost = 1.1
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH pending AS MATERIALIZED (
        SELECT p.* FROM unnest(p_pending) AS p
    ),
    life AS (
        SELECT s.*
        FROM unnest(p_companies, p_users) AS k (company_id, user_id)
        JOIN analytics_subscriptions AS s ON s.company_id = k.company_id AND s.user_id = k.user_id
        UNION ALL
        SELECT s.*
        FROM unnest(p_companies, p_lone_subscriptions) AS k (company_id, subscription_id)
        JOIN analytics_subscriptions AS s
            ON s.company_id = k.company_id AND s.subscription_id = k.subscription_id AND s.user_id IS NULL
    )
    SELECT
        f.company_id, analytics_customer(f.user_id, f.subscription_id), f.currency, f.monthly_amount,
        f.valid_from, f.valid_to, f.status, f.was_paid
    FROM life AS f
    WHERE NOT EXISTS (
        SELECT FROM pending AS p
        WHERE p.company_id = f.company_id AND p.subscription_id = f.subscription_id
    )
    UNION ALL
    SELECT
        s.company_id, analytics_customer(s.user_id, s.subscription_id), s.currency, s.monthly_amount,
        s.valid_from, s.valid_to, s.status, s.was_paid
    FROM pending AS s
    JOIN unnest(p_companies, p_users, p_lone_subscriptions) AS k (company_id, user_id, lone_subscription)
        ON k.company_id = s.company_id
       AND analytics_customer(k.user_id, k.lone_subscription) = analytics_customer(s.user_id, s.subscription_id);
END
$$;

COMMENT ON FUNCTION analytics_customer_lives IS
    'The subscriptions of some customers over time; each is a user, or a subscription that never named one.';

-- Each mover is a customer and a period, numbered by its position: whole lives of many customers are not carried along.
CREATE OR REPLACE FUNCTION analytics_mover_standings(
    p_companies text[], p_users text[], p_lone_subscriptions text[], p_starts timestamptz[], p_ends timestamptz[],
    p_pending analytics_subscriptions[]
)
RETURNS TABLE (
    mover bigint, paid_at_start boolean, paid_at_end boolean, paid_before boolean,
    paused_at_start boolean, paused_at_end boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = on
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH pending AS MATERIALIZED (
        SELECT p.* FROM unnest(p_pending) AS p
    ),
    life AS (
        SELECT k.mover, k.period_start, k.period_end, s.*
        FROM unnest(p_companies, p_users, p_starts, p_ends) WITH ORDINALITY
            AS k (company_id, user_id, period_start, period_end, mover)
        JOIN analytics_subscriptions AS s ON s.company_id = k.company_id AND s.user_id = k.user_id
        UNION ALL
        SELECT k.mover, k.period_start, k.period_end, s.*
        FROM unnest(p_companies, p_lone_subscriptions, p_starts, p_ends) WITH ORDINALITY
            AS k (company_id, subscription_id, period_start, period_end, mover)
        JOIN analytics_subscriptions AS s
            ON s.company_id = k.company_id AND s.subscription_id = k.subscription_id AND s.user_id IS NULL
    ),
    row_of_life AS (
        SELECT f.mover, f.period_start, f.period_end, f.valid_from, f.valid_to, f.monthly_amount, f.was_paid, f.status
        FROM life AS f
        WHERE NOT EXISTS (
            SELECT FROM pending AS p
            WHERE p.company_id = f.company_id AND p.subscription_id = f.subscription_id
        )
        UNION ALL
        SELECT
            k.mover, k.period_start, k.period_end, s.valid_from, s.valid_to, s.monthly_amount, s.was_paid, s.status
        FROM pending AS s
        JOIN unnest(p_companies, p_users, p_lone_subscriptions, p_starts, p_ends) WITH ORDINALITY
            AS k (company_id, user_id, lone_subscription, period_start, period_end, mover)
            ON k.company_id = s.company_id
           AND analytics_customer(k.user_id, k.lone_subscription) = analytics_customer(s.user_id, s.subscription_id)
    )
    SELECT
        f.mover,
        bool_or(f.at_start AND f.monthly_amount > 0), bool_or(f.at_end AND f.monthly_amount > 0),
        bool_or(f.was_before AND f.was_paid),
        bool_or(f.at_start AND f.was_paid AND f.status = 'paused'),
        bool_or(f.at_end AND f.was_paid AND f.status = 'paused')
    FROM (
        SELECT
            r.mover, r.monthly_amount, r.was_paid, r.status,
            r.valid_from < r.period_start AS was_before,
            r.valid_from < r.period_start AND (r.valid_to IS NULL OR r.valid_to >= r.period_start) AS at_start,
            r.valid_to IS NULL OR r.valid_to >= r.period_end AS at_end
        FROM row_of_life AS r
        WHERE r.valid_from < r.period_end
    ) AS f
    GROUP BY f.mover;
END
$$;

COMMENT ON FUNCTION analytics_mover_standings IS
    'Whether some customers, each with a period, pay or are paused at its start and its end, and have paid before it.';

CREATE OR REPLACE FUNCTION analytics_mrr_parts(
    p_periods analytics_figure_period[], p_pending analytics_subscriptions[]
)
RETURNS TABLE (
    place bigint, company_id text, customer text, currency text, part text, original numeric, converted numeric,
    is_left_out boolean, first_day date, last_day date, paid_at_start boolean, customers bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    companies text[] := analytics_period_companies(p_periods);
    asked_for bigint := cardinality(p_periods);
    -- A period's start is the end of whatever came before it.
    befores analytics_figure_period[] := ARRAY(
        SELECT ROW(w.company_id, '-infinity', w.period_start, w.currency, w.time_zone)::analytics_figure_period
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
        ORDER BY w.place
    );
BEGIN
    RETURN QUERY
    WITH period AS MATERIALIZED (
        SELECT w.*
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    ),
    held AS MATERIALIZED (
        SELECT
            CASE WHEN b.place <= asked_for THEN b.place ELSE b.place - asked_for END AS place,
            b.company_id, b.currency, CASE WHEN b.place <= asked_for THEN 'end' ELSE 'start' END AS part,
            b.day, b.original, b.numerator, b.denominator, b.customers
        FROM analytics_mrr_at_end(p_periods || befores, p_pending) AS b
    ),
    net AS MATERIALIZED (
        SELECT
            n.*, p.period_start, p.period_end,
            -- Asked for alone and with all others, a customer stands where they stand.
            dense_rank() OVER (
                ORDER BY p.period_start, p.period_end, n.company_id, n.user_id, n.lone_subscription
            ) AS mover
        FROM analytics_mrr_moves(p_periods, p_pending) AS n
        JOIN period AS p ON p.place = n.place
    ),
    standing AS MATERIALIZED (
        SELECT s.*
        FROM (
            SELECT
                array_agg(k.company_id ORDER BY k.mover) AS companies, array_agg(k.user_id ORDER BY k.mover) AS users,
                array_agg(k.lone_subscription ORDER BY k.mover) AS lone_subscriptions,
                array_agg(k.period_start ORDER BY k.mover) AS starts, array_agg(k.period_end ORDER BY k.mover) AS ends
            FROM (SELECT DISTINCT ON (n.mover) n.* FROM net AS n ORDER BY n.mover) AS k
            HAVING count(*) > 0
        ) AS m
        CROSS JOIN LATERAL analytics_mover_standings(
            m.companies, m.users, m.lone_subscriptions, m.starts, m.ends, p_pending
        ) AS s
    ),
    without_rate AS MATERIALIZED (
        SELECT
            h.place, h.company_id, h.currency,
            bool_or(h.part = 'start') AS at_start, bool_or(h.part = 'end') AS at_end
        FROM held AS h
        WHERE h.currency IS NOT NULL AND h.numerator IS NULL
        GROUP BY h.place, h.company_id, h.currency
    ),
    life_without_rate AS MATERIALIZED (
        SELECT f.*
        FROM (
            SELECT
                array_agg(k.company_id) AS companies, array_agg(k.user_id) AS users,
                array_agg(k.lone_subscription) AS lone_subscriptions
            FROM (
                SELECT DISTINCT n.company_id, n.user_id, n.lone_subscription FROM net AS n WHERE n.converted IS NULL
            ) AS k
            HAVING count(*) > 0
        ) AS m
        CROSS JOIN LATERAL analytics_customer_lives(m.companies, m.users, m.lone_subscriptions, p_pending) AS f
    ),
    left_out AS MATERIALIZED (
        SELECT b.place, b.company_id, b.customer, b.currency, b.at_start, b.at_end
        FROM (
            SELECT
                w.place, w.company_id, w.currency,
                analytics_customer(f.user_id, f.subscription_id) AS customer,
                coalesce(sum(f.monthly_amount) FILTER (
                    WHERE f.valid_from < p.period_start AND (f.valid_to IS NULL OR f.valid_to >= p.period_start)
                ), 0) AS at_start,
                coalesce(sum(f.monthly_amount) FILTER (
                    WHERE f.valid_to IS NULL OR f.valid_to >= p.period_end
                ), 0) AS at_end,
                w.at_start AS needs_start, w.at_end AS needs_end
            FROM without_rate AS w
            JOIN period AS p ON p.place = w.place
            JOIN analytics_subscription_rows(companies, p_pending) AS f
                ON f.company_id = w.company_id AND f.currency = w.currency AND f.valid_from < p.period_end
            WHERE f.monthly_amount > 0
            GROUP BY
                w.place, w.company_id, w.currency, w.at_start, w.at_end,
                analytics_customer(f.user_id, f.subscription_id)
        ) AS b
        WHERE (b.needs_start AND b.at_start > 0) OR (b.needs_end AND b.at_end > 0)
        UNION
        SELECT
            n.place, n.company_id, n.customer, n.currency,
            coalesce(sum(f.monthly_amount) FILTER (
                WHERE f.valid_from < p.period_start AND (f.valid_to IS NULL OR f.valid_to >= p.period_start)
            ), 0),
            coalesce(sum(f.monthly_amount) FILTER (
                WHERE f.valid_to IS NULL OR f.valid_to >= p.period_end
            ), 0)
        FROM net AS n
        JOIN period AS p ON p.place = n.place
        JOIN life_without_rate AS f
            ON f.company_id = n.company_id AND f.customer = n.customer AND f.currency = n.currency
           AND f.monthly_amount > 0 AND f.valid_from < p.period_end
        WHERE n.converted IS NULL
        GROUP BY n.place, n.company_id, n.customer, n.currency
    ),
    missing AS (
        SELECT
            l.place, l.company_id, l.currency, v.part, sum(v.amount) AS amount
        FROM left_out AS l
        CROSS JOIN LATERAL (VALUES ('start', l.at_start), ('end', l.at_end)) AS v (part, amount)
        GROUP BY l.place, l.company_id, l.currency, v.part
    ),
    moved AS (
        SELECT
            n.*, l.place IS NOT NULL AS is_left_out,
            sum(n.converted) FILTER (WHERE l.place IS NULL) OVER (PARTITION BY n.place, n.mover) AS kept
        FROM net AS n
        LEFT JOIN left_out AS l
            ON l.place = n.place AND l.company_id = n.company_id AND l.customer = n.customer
           AND l.currency = n.currency
    )
    SELECT
        h.place, h.company_id, NULL::text, h.currency, h.part, v.amount,
        analytics_fraction(v.amount, h.numerator, h.denominator), v.is_left_out, h.day, h.day,
        NULL::boolean, h.customers
    FROM held AS h
    LEFT JOIN missing AS l
        ON l.place = h.place AND l.company_id = h.company_id AND l.currency = h.currency AND l.part = h.part
    CROSS JOIN LATERAL (
        VALUES (h.original - coalesce(l.amount, 0), false), (coalesce(l.amount, 0), true)
    ) AS v (amount, is_left_out)
    WHERE v.amount > 0 OR (h.currency IS NULL AND NOT v.is_left_out)
    UNION ALL
    SELECT
        m.place, m.company_id, m.customer, m.currency,
        CASE
            WHEN NOT s.paid_at_start AND s.paused_at_start THEN 'expansion'
            WHEN NOT s.paid_at_start AND s.paid_before THEN 'reactivation'
            WHEN NOT s.paid_at_start THEN 'new'
            WHEN NOT s.paid_at_end AND s.paused_at_end THEN 'contraction'
            WHEN NOT s.paid_at_end THEN 'churn'
            WHEN m.is_left_out THEN CASE WHEN m.net > 0 THEN 'expansion' ELSE 'contraction' END
            WHEN m.kept > 0 THEN 'expansion'
            WHEN m.kept < 0 THEN 'contraction'
        END,
        m.net, m.converted, m.is_left_out, m.first_day, m.last_day, s.paid_at_start, 0::bigint
    FROM moved AS m
    JOIN standing AS s ON s.mover = m.mover;
END
$$;

COMMENT ON FUNCTION analytics_mrr_parts IS
    'MRR at the start and the end of each period per company (null: all of them, in the currency reported in) and currency, and what moved it per customer and currency, signed; left out is what is not in the bridge, for want of a rate for it or for another part of it. A row without currency counts the customers that pay at the start or the end.';
