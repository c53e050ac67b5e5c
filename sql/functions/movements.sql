-- How monthly recurring revenue moved from a period's start to its end, DEFINITIONS version 1.
-- Per customer and period, net: what was gained and lost again within it is no movement.

-- A change in several currencies, or on several days, is converted day by day: the net in a currency at the
-- average rate of the changes that go its way, since those of the other way only cancel some of them.
CREATE OR REPLACE FUNCTION analytics_customer_movements(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (company_id text, customer text, currency text, movement text, original numeric, converted numeric)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH life AS MATERIALIZED (
        SELECT
            s.company_id, analytics_customer(s.user_id, s.subscription_id) AS customer,
            s.currency, s.monthly_amount, s.valid_from, s.valid_to, s.status, s.was_paid,
            s.valid_from < p_start AS at_start,
            s.valid_to IS NULL OR s.valid_to >= p_end AS at_end
        FROM analytics_subscription_rows(p_company) AS s
        WHERE s.valid_from < p_end AND (s.valid_to IS NULL OR s.valid_to >= p_start)
    ),
    change AS (
        SELECT c.company_id, c.customer, c.currency, c.changed_at, sum(c.amount) AS amount
        FROM (
            SELECT f.company_id, f.customer, f.currency, f.valid_from AS changed_at, f.monthly_amount AS amount
            FROM life AS f
            WHERE f.monthly_amount > 0 AND f.valid_from >= p_start
            UNION ALL
            SELECT f.company_id, f.customer, f.currency, f.valid_to, -f.monthly_amount
            FROM life AS f
            WHERE f.monthly_amount > 0 AND f.valid_to >= p_start AND f.valid_to < p_end
        ) AS c
        GROUP BY c.company_id, c.customer, c.currency, c.changed_at
        HAVING sum(c.amount) <> 0
    ),
    rate AS MATERIALIZED (
        SELECT k.currency, k.day, fx.numerator, fx.denominator
        FROM (SELECT DISTINCT c.currency, analytics_date(c.changed_at) AS day FROM change AS c) AS k
        CROSS JOIN LATERAL analytics_fx_rate(k.currency, p_currency, k.day) AS fx
    ),
    directed AS (
        SELECT
            c.*,
            analytics_fraction(c.amount, r.numerator, r.denominator) AS converted,
            sum(c.amount) OVER (PARTITION BY c.company_id, c.customer, c.currency) AS net
        FROM change AS c
        LEFT JOIN rate AS r ON r.currency = c.currency AND r.day = analytics_date(c.changed_at)
    ),
    net AS (
        SELECT
            d.company_id, d.customer, d.currency, d.net,
            CASE
                WHEN d.currency = p_currency THEN d.net
                WHEN bool_or(d.converted IS NULL) THEN NULL
                WHEN sum(d.amount) = d.net THEN sum(d.converted)
                ELSE analytics_fraction(sum(d.converted), d.net, sum(d.amount))
            END AS converted
        FROM directed AS d
        WHERE sign(d.amount) = sign(d.net)
        GROUP BY d.company_id, d.customer, d.currency, d.net
    ),
    standing AS (
        SELECT
            f.company_id, f.customer,
            bool_or(f.at_start AND f.monthly_amount > 0) AS paid_at_start,
            bool_or(f.at_end AND f.monthly_amount > 0) AS paid_at_end,
            bool_or(f.at_start AND f.was_paid) AS paid_before,
            bool_or(f.at_start AND f.was_paid AND f.status = 'paused') AS paused_at_start,
            bool_or(f.at_end AND f.was_paid AND f.status = 'paused') AS paused_at_end
        FROM life AS f
        WHERE EXISTS (SELECT FROM net AS n WHERE n.company_id = f.company_id AND n.customer = f.customer)
        GROUP BY f.company_id, f.customer
    )
    SELECT
        n.company_id, n.customer, n.currency,
        CASE
            WHEN NOT s.paid_at_start AND s.paused_at_start THEN 'expansion'
            WHEN NOT s.paid_at_start AND s.paid_before THEN 'reactivation'
            WHEN NOT s.paid_at_start THEN 'new'
            WHEN NOT s.paid_at_end AND s.paused_at_end THEN 'contraction'
            WHEN NOT s.paid_at_end THEN 'churn'
            WHEN sum(n.converted) OVER customer > 0 THEN 'expansion'
            WHEN sum(n.converted) OVER customer < 0 THEN 'contraction'
        END,
        n.net, n.converted
    FROM net AS n
    JOIN standing AS s ON s.company_id = n.company_id AND s.customer = n.customer
    WINDOW customer AS (PARTITION BY n.company_id, n.customer)
$$;

COMMENT ON FUNCTION analytics_customer_movements IS
    'Net MRR movement of each customer in a half-open period, per currency, signed; converted is null without a rate.';

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
            bool_and(p.amount IS NOT NULL) AS is_converted
        FROM (
            SELECT b.company_id, 'start' AS part, b.converted AS amount
            FROM analytics_mrr_balances(
                p_company, p_start,
                analytics_date(analytics_as_of(p_company, p_start) - interval '1 microsecond'), p_currency
            ) AS b
            UNION ALL
            SELECT b.company_id, 'end', b.converted
            FROM analytics_mrr_balances(
                p_company, p_end,
                analytics_date(analytics_as_of(p_company, p_end) - interval '1 microsecond'), p_currency
            ) AS b
            UNION ALL
            SELECT m.company_id, m.movement, m.converted
            FROM analytics_customer_movements(p_company, p_start, p_end, p_currency) AS m
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
