-- The figures of a period put together, DEFINITIONS version 2. Amounts are in the reporting currency,
-- exact; a ratio is null without a base, or while a part of it lacks a rate. Periods are half-open; a null company
-- means all companies.

CREATE OR REPLACE FUNCTION analytics_revenue_metrics_by_company(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, total_revenue numeric, previous_revenue numeric, is_revenue_converted boolean,
    is_comparable boolean, invoiced numeric, refunds numeric, mrr numeric, is_mrr_converted boolean,
    paying_customers bigint, total_users bigint, is_converted boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        p.company_id,
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'totalRevenue'), 0),
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'before'), 0),
        coalesce(bool_and(p.converted IS NOT NULL) FILTER (WHERE p.part = 'totalRevenue'), true),
        coalesce(bool_and(p.converted IS NOT NULL) FILTER (WHERE p.part IN ('totalRevenue', 'before')), true),
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'invoiced'), 0),
        coalesce(-sum(p.refunded) FILTER (WHERE p.part = 'totalRevenue'), 0),
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'mrr'), 0),
        coalesce(bool_and(p.converted IS NOT NULL) FILTER (WHERE p.part = 'mrr'), true),
        coalesce(sum(p.heads) FILTER (WHERE p.part = 'customers'), 0)::bigint,
        coalesce(sum(p.heads) FILTER (WHERE p.part = 'users'), 0)::bigint,
        bool_and(p.converted IS NOT NULL)
    FROM (
        SELECT r.company_id, r.figure AS part, r.converted, r.refunded, 0 AS heads
        FROM analytics_converted_revenue(p_company, p_start, p_end, p_currency) AS r
        UNION ALL
        SELECT r.company_id, 'before', r.converted, 0, 0
        FROM analytics_converted_revenue(
            p_company, analytics_previous_start(p_start, p_end), p_start, p_currency
        ) AS r
        WHERE r.figure = 'totalRevenue'
        UNION ALL
        SELECT b.company_id, 'mrr', b.converted, 0, 0
        FROM analytics_mrr_balances(p_company, p_end, analytics_balance_date(p_start, p_end), p_currency) AS b
        UNION ALL
        SELECT b.company_id, 'customers', 0, 0, count(DISTINCT b.customer)
        FROM analytics_subscription_balances(p_company, p_end) AS b
        GROUP BY b.company_id
        UNION ALL
        SELECT u.company_id, 'users', 0, 0, u.total_users
        FROM analytics_total_users_by_company(p_company, p_start, p_end) AS u
    ) AS p
    GROUP BY p.company_id
$$;

COMMENT ON FUNCTION analytics_revenue_metrics_by_company IS
    'What the revenue answer of a period is made of, per company; is_converted: no rate was missing for any of it.';

CREATE OR REPLACE FUNCTION analytics_revenue_metrics(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    total_revenue numeric, mrr numeric, arr numeric, average_revenue_per_user numeric, revenue_growth numeric,
    invoiced numeric, refunds numeric, paying_customers bigint, arpa numeric, total_users bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        s.total_revenue, s.mrr, 12 * s.mrr,
        CASE WHEN s.is_revenue_converted THEN analytics_ratio(s.total_revenue, s.total_users) END,
        analytics_growth(s.total_revenue, s.previous_revenue, s.is_comparable),
        s.invoiced, s.refunds, s.paying_customers,
        CASE WHEN s.is_mrr_converted THEN analytics_ratio(s.mrr, s.paying_customers) END,
        s.total_users
    FROM (
        SELECT
            coalesce(sum(c.total_revenue), 0) AS total_revenue,
            coalesce(sum(c.previous_revenue), 0) AS previous_revenue,
            bool_and(c.is_revenue_converted) AS is_revenue_converted,
            bool_and(c.is_comparable) AS is_comparable,
            bool_and(c.is_mrr_converted) AS is_mrr_converted,
            coalesce(sum(c.invoiced), 0) AS invoiced,
            coalesce(sum(c.refunds), 0) AS refunds,
            coalesce(sum(c.mrr), 0) AS mrr,
            coalesce(sum(c.paying_customers), 0)::bigint AS paying_customers,
            coalesce(sum(c.total_users), 0)::bigint AS total_users
        FROM analytics_revenue_metrics_by_company(p_company, p_start, p_end, p_currency) AS c
    ) AS s
$$;

COMMENT ON FUNCTION analytics_revenue_metrics IS
    'The revenue answer of a period, of a company or of all, unrounded; one row. Refunds are positive.';

CREATE OR REPLACE FUNCTION analytics_ratio(p_amount numeric, p_count bigint)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN p_count > 0 THEN analytics_fraction(p_amount, 1, p_count) END
$$;

COMMENT ON FUNCTION analytics_ratio IS
    'An amount per head; null without heads.';

CREATE OR REPLACE FUNCTION analytics_growth(p_this numeric, p_previous numeric, p_is_comparable boolean)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN p_is_comparable THEN analytics_percentage(p_this - p_previous, p_previous) END
$$;

COMMENT ON FUNCTION analytics_growth IS
    'Growth in per cent; null unless the previous figure is above zero and both are wholly known.';

-- Figures are named as the fields of the answers; part says what of a figure with several it is. Gains and losses are
-- apart: amounts of one row have one sign.
CREATE OR REPLACE FUNCTION analytics_unconverted(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, figure text, part text, currency text, amount numeric, first_day date, last_day date
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT u.company_id, u.figure, u.part, u.currency, sum(u.amount), min(u.first_day), max(u.last_day)
    FROM (
        SELECT r.company_id, v.figure, NULL AS part, r.currency, v.amount, r.day AS first_day, r.day AS last_day
        FROM analytics_converted_revenue(p_company, p_start, p_end, p_currency) AS r
        CROSS JOIN LATERAL (VALUES (r.figure, r.original - r.refunds), ('refunds', -r.refunds)) AS v (figure, amount)
        WHERE r.converted IS NULL
        UNION ALL
        SELECT r.company_id, 'revenueGrowth', v.part, r.currency, v.amount, r.day, r.day
        FROM analytics_converted_revenue(
            p_company, analytics_previous_start(p_start, p_end), p_start, p_currency
        ) AS r
        CROSS JOIN LATERAL (VALUES (NULL, r.original - r.refunds), ('refunds', -r.refunds)) AS v (part, amount)
        WHERE r.converted IS NULL AND r.figure = 'totalRevenue'
        UNION ALL
        SELECT b.company_id, 'mrr', NULL, b.currency, b.original, d.day, d.day
        FROM (SELECT analytics_balance_date(p_start, p_end) AS day) AS d
        CROSS JOIN LATERAL analytics_mrr_balances(p_company, p_end, d.day, p_currency) AS b
        WHERE b.converted IS NULL
        UNION ALL
        SELECT m.company_id, 'mrrMovements', m.part, m.currency, abs(m.original), m.first_day, m.last_day
        FROM analytics_mrr_parts(p_company, p_start, p_end, p_currency) AS m
        -- A balance at the end without a rate is listed as mrr.
        WHERE m.is_left_out AND (m.part <> 'end' OR m.converted IS NOT NULL)
    ) AS u
    WHERE u.amount <> 0
    GROUP BY u.company_id, u.figure, u.part, u.currency, sign(u.amount)
$$;

COMMENT ON FUNCTION analytics_unconverted IS
    'Amounts that are left out of figures because no rate of the 7 days up to their day, or to that of another part of their movement, is known, in their currency.';

CREATE OR REPLACE FUNCTION analytics_top_events(
    p_company text, p_start timestamptz, p_end timestamptz, p_most integer
)
RETURNS TABLE (event_type text, category text, events bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT v.event_type, v.category, sum(v.events)::bigint
    FROM (
        SELECT h.event_type, h.category, h.event_count AS events
        FROM analytics_event_volume_hourly AS h
        WHERE analytics_ceil('hour', p_start) < analytics_floor('hour', p_end)
          AND h.bucket >= analytics_ceil('hour', p_start) AND h.bucket < analytics_floor('hour', p_end)
          AND (p_company IS NULL OR h.company_id = p_company)
        UNION ALL
        SELECT e.event_type, e.category, 1
        FROM analytics_events AS e
        WHERE p_start < least(analytics_ceil('hour', p_start), p_end)
          AND e."timestamp" >= p_start AND e."timestamp" < least(analytics_ceil('hour', p_start), p_end)
          AND (p_company IS NULL OR e.company_id = p_company)
        UNION ALL
        SELECT e.event_type, e.category, 1
        FROM analytics_events AS e
        WHERE greatest(analytics_floor('hour', p_end), analytics_ceil('hour', p_start)) < p_end
          AND e."timestamp" >= greatest(analytics_floor('hour', p_end), analytics_ceil('hour', p_start))
          AND e."timestamp" < p_end
          AND (p_company IS NULL OR e.company_id = p_company)
    ) AS v
    GROUP BY v.event_type, v.category
    ORDER BY sum(v.events) DESC, v.event_type, v.category
    LIMIT p_most
$$;

COMMENT ON FUNCTION analytics_top_events IS
    'The most frequent event types of any period with their counts.';
