-- How monthly recurring revenue moved from a period's start to its end, DEFINITIONS version 2.
-- Per customer and period, net: what was gained and lost again within it is no movement.

-- A change in several currencies, or on several days, is converted day by day: the net in a currency at the
-- average rate of the changes that go its way, since those of the other way only cancel some of them. What a customer
-- pays in a currency is left out of all parts when one of them lacks a rate, or the rest, fx, would hold it.
CREATE OR REPLACE FUNCTION analytics_mrr_parts(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, customer text, currency text, part text, original numeric, converted numeric,
    is_left_out boolean, first_day date, last_day date
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH ends AS MATERIALIZED (
        SELECT
            analytics_balance_date('-infinity', p_start) AS start_day,
            analytics_balance_date(p_start, p_end) AS end_day
    ),
    history AS MATERIALIZED (
        SELECT
            s.company_id, analytics_customer(s.user_id, s.subscription_id) AS customer,
            s.currency, s.monthly_amount, s.valid_from, s.valid_to, s.status, s.was_paid,
            s.valid_from < p_start AND (s.valid_to IS NULL OR s.valid_to >= p_start) AS at_start,
            s.valid_to IS NULL OR s.valid_to >= p_end AS at_end
        FROM analytics_subscription_rows(p_company) AS s
        WHERE s.valid_from < p_end
          -- What was over by then counts for who has ever paid.
          AND (s.valid_to IS NULL OR s.valid_to >= p_start OR s.monthly_amount > 0)
    ),
    change AS (
        SELECT c.company_id, c.customer, c.currency, c.changed_at, sum(c.amount) AS amount
        FROM (
            SELECT f.company_id, f.customer, f.currency, f.valid_from AS changed_at, f.monthly_amount AS amount
            FROM history AS f
            WHERE f.monthly_amount > 0 AND f.valid_from >= p_start
            UNION ALL
            SELECT f.company_id, f.customer, f.currency, f.valid_to, -f.monthly_amount
            FROM history AS f
            WHERE f.monthly_amount > 0 AND f.valid_to >= p_start AND f.valid_to < p_end
        ) AS c
        GROUP BY c.company_id, c.customer, c.currency, c.changed_at
        HAVING sum(c.amount) <> 0
    ),
    balance AS MATERIALIZED (
        SELECT
            f.company_id, f.customer, f.currency,
            coalesce(sum(f.monthly_amount) FILTER (WHERE f.at_start), 0) AS at_start,
            coalesce(sum(f.monthly_amount) FILTER (WHERE f.at_end), 0) AS at_end
        FROM history AS f
        WHERE f.monthly_amount > 0 AND (f.at_start OR f.at_end)
        GROUP BY f.company_id, f.customer, f.currency
    ),
    rate AS MATERIALIZED (
        SELECT k.currency, k.day, fx.numerator, fx.denominator
        FROM (
            SELECT c.currency, analytics_date(c.changed_at) AS day FROM change AS c
            UNION
            SELECT b.currency, e.start_day FROM balance AS b, ends AS e WHERE b.at_start > 0
            UNION
            SELECT b.currency, e.end_day FROM balance AS b, ends AS e WHERE b.at_end > 0
        ) AS k
        CROSS JOIN LATERAL analytics_fx_rate(k.currency, p_currency, k.day) AS fx
    ),
    directed AS (
        SELECT
            c.*,
            analytics_date(c.changed_at) AS day,
            analytics_fraction(c.amount, r.numerator, r.denominator) AS converted,
            sum(c.amount) OVER (PARTITION BY c.company_id, c.customer, c.currency) AS net
        FROM change AS c
        LEFT JOIN rate AS r ON r.currency = c.currency AND r.day = analytics_date(c.changed_at)
    ),
    net AS MATERIALIZED (
        SELECT
            d.company_id, d.customer, d.currency, d.net,
            CASE
                WHEN d.currency = p_currency THEN d.net
                WHEN bool_or(d.converted IS NULL) THEN NULL
                WHEN sum(d.amount) = d.net THEN sum(d.converted)
                ELSE analytics_fraction(sum(d.converted), d.net, sum(d.amount))
            END AS converted,
            -- Days without a rate, if that is what it lacks.
            coalesce(min(d.day) FILTER (WHERE d.converted IS NULL), min(d.day)) AS first_day,
            coalesce(max(d.day) FILTER (WHERE d.converted IS NULL), max(d.day)) AS last_day
        FROM directed AS d
        WHERE sign(d.amount) = sign(d.net)
        GROUP BY d.company_id, d.customer, d.currency, d.net
    ),
    left_out AS MATERIALIZED (
        SELECT b.company_id, b.customer, b.currency
        FROM balance AS b
        CROSS JOIN ends AS e
        LEFT JOIN rate AS s ON s.currency = b.currency AND s.day = e.start_day
        LEFT JOIN rate AS t ON t.currency = b.currency AND t.day = e.end_day
        WHERE (b.at_start > 0 AND s.day IS NULL) OR (b.at_end > 0 AND t.day IS NULL)
        UNION
        SELECT n.company_id, n.customer, n.currency FROM net AS n WHERE n.converted IS NULL
    ),
    held AS (
        SELECT b.company_id, b.currency, b.part, b.day, b.is_left_out, sum(b.amount) AS amount
        FROM (
            SELECT
                h.company_id, h.currency, v.part, v.day, v.amount,
                EXISTS (
                    SELECT FROM left_out AS l
                    WHERE l.company_id = h.company_id AND l.customer = h.customer AND l.currency = h.currency
                ) AS is_left_out
            FROM balance AS h
            CROSS JOIN ends AS e
            CROSS JOIN LATERAL (VALUES ('start', e.start_day, h.at_start), ('end', e.end_day, h.at_end))
                AS v (part, day, amount)
            WHERE v.amount > 0
        ) AS b
        GROUP BY b.company_id, b.currency, b.part, b.day, b.is_left_out
    ),
    standing AS (
        SELECT
            f.company_id, f.customer,
            bool_or(f.at_start AND f.monthly_amount > 0) AS paid_at_start,
            bool_or(f.at_end AND f.monthly_amount > 0) AS paid_at_end,
            bool_or(f.valid_from < p_start AND f.was_paid) AS paid_before,
            bool_or(f.at_start AND f.was_paid AND f.status = 'paused') AS paused_at_start,
            bool_or(f.at_end AND f.was_paid AND f.status = 'paused') AS paused_at_end
        FROM history AS f
        WHERE EXISTS (SELECT FROM net AS n WHERE n.company_id = f.company_id AND n.customer = f.customer)
        GROUP BY f.company_id, f.customer
    ),
    moved AS (
        SELECT
            n.*,
            EXISTS (
                SELECT FROM left_out AS l
                WHERE l.company_id = n.company_id AND l.customer = n.customer AND l.currency = n.currency
            ) AS is_left_out
        FROM net AS n
    )
    SELECT
        h.company_id, NULL, h.currency, h.part, h.amount,
        analytics_fraction(h.amount, r.numerator, r.denominator), h.is_left_out, h.day, h.day
    FROM held AS h
    LEFT JOIN rate AS r ON r.currency = h.currency AND r.day = h.day
    UNION ALL
    SELECT
        m.company_id, m.customer, m.currency,
        CASE
            WHEN NOT s.paid_at_start AND s.paused_at_start THEN 'expansion'
            WHEN NOT s.paid_at_start AND s.paid_before THEN 'reactivation'
            WHEN NOT s.paid_at_start THEN 'new'
            WHEN NOT s.paid_at_end AND s.paused_at_end THEN 'contraction'
            WHEN NOT s.paid_at_end THEN 'churn'
            WHEN m.is_left_out THEN CASE WHEN m.net > 0 THEN 'expansion' ELSE 'contraction' END
            WHEN sum(m.converted) FILTER (WHERE NOT m.is_left_out) OVER customer > 0 THEN 'expansion'
            WHEN sum(m.converted) FILTER (WHERE NOT m.is_left_out) OVER customer < 0 THEN 'contraction'
        END,
        m.net, m.converted, m.is_left_out, m.first_day, m.last_day
    FROM moved AS m
    JOIN standing AS s ON s.company_id = m.company_id AND s.customer = m.customer
    WINDOW customer AS (PARTITION BY m.company_id, m.customer)
$$;

COMMENT ON FUNCTION analytics_mrr_parts IS
    'MRR at the start and the end of a half-open period per company and currency, and what moved it per customer and currency, signed; left out is what is not in the bridge, for want of a rate for it or for another part of it.';

CREATE OR REPLACE FUNCTION analytics_customer_movements(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (company_id text, customer text, currency text, movement text, original numeric, converted numeric)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        p.company_id, p.customer, p.currency, p.part, p.original, CASE WHEN NOT p.is_left_out THEN p.converted END
    FROM analytics_mrr_parts(p_company, p_start, p_end, p_currency) AS p
    WHERE p.customer IS NOT NULL
$$;

COMMENT ON FUNCTION analytics_customer_movements IS
    'Net MRR movement of each customer in a half-open period, per currency, signed; converted is null where it is left out for want of a rate.';

-- start + new + reactivation + expansion - contraction - churn + fx = end, always: fx is what rates did.
CREATE OR REPLACE FUNCTION analytics_mrr_movements_by_company(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, start_mrr numeric, new numeric, reactivation numeric, expansion numeric,
    contraction numeric, churn numeric, fx numeric, end_mrr numeric, is_converted boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        t.company_id, t.start_mrr, t.new, t.reactivation, t.expansion, t.contraction, t.churn,
        t.end_mrr - t.start_mrr - t.new - t.reactivation - t.expansion + t.contraction + t.churn,
        t.end_mrr, t.is_converted
    FROM (
        SELECT
            p.company_id,
            coalesce(sum(p.amount) FILTER (WHERE p.part = 'start'), 0) AS start_mrr,
            coalesce(sum(p.amount) FILTER (WHERE p.part = 'new'), 0) AS new,
            coalesce(sum(p.amount) FILTER (WHERE p.part = 'reactivation'), 0) AS reactivation,
            coalesce(sum(p.amount) FILTER (WHERE p.part = 'expansion'), 0) AS expansion,
            coalesce(-sum(p.amount) FILTER (WHERE p.part = 'contraction'), 0) AS contraction,
            coalesce(-sum(p.amount) FILTER (WHERE p.part = 'churn'), 0) AS churn,
            coalesce(sum(p.amount) FILTER (WHERE p.part = 'end'), 0) AS end_mrr,
            NOT bool_or(p.is_left_out) AS is_converted
        FROM (
            SELECT m.company_id, m.part, m.is_left_out, CASE WHEN NOT m.is_left_out THEN m.converted END AS amount
            FROM analytics_mrr_parts(p_company, p_start, p_end, p_currency) AS m
        ) AS p
        GROUP BY p.company_id
    ) AS t
$$;

COMMENT ON FUNCTION analytics_mrr_movements_by_company IS
    'MRR at a period''s start and end and what moved it, per company, in the reporting currency.';

CREATE OR REPLACE FUNCTION analytics_mrr_movements(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    start_mrr numeric, new numeric, reactivation numeric, expansion numeric,
    contraction numeric, churn numeric, fx numeric, end_mrr numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        coalesce(sum(m.start_mrr), 0), coalesce(sum(m.new), 0), coalesce(sum(m.reactivation), 0),
        coalesce(sum(m.expansion), 0), coalesce(sum(m.contraction), 0), coalesce(sum(m.churn), 0),
        coalesce(sum(m.fx), 0), coalesce(sum(m.end_mrr), 0)
    FROM analytics_mrr_movements_by_company(p_company, p_start, p_end, p_currency) AS m
$$;

COMMENT ON FUNCTION analytics_mrr_movements IS
    'MRR at a period''s start and end and what moved it, of a company or of all; one row.';
