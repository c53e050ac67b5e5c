-- The figures of a period put together, DEFINITIONS version 1. Amounts are in the reporting currency,
-- exact; a rate without a base is null. Periods are half-open; a null company means all companies.

CREATE OR REPLACE FUNCTION analytics_revenue_metrics_by_company(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, total_revenue numeric, previous_revenue numeric, is_comparable boolean,
    invoiced numeric, refunds numeric, mrr numeric, paying_customers bigint, total_users bigint,
    is_converted boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        p.company_id,
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'totalRevenue'), 0),
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'before'), 0),
        coalesce(bool_and(p.converted IS NOT NULL) FILTER (WHERE p.part IN ('totalRevenue', 'before')), true),
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'invoiced'), 0),
        coalesce(-sum(p.refunded) FILTER (WHERE p.part = 'totalRevenue'), 0),
        coalesce(sum(p.converted) FILTER (WHERE p.part = 'mrr'), 0),
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
        FROM analytics_mrr_balances(
            p_company, p_end,
            analytics_date(analytics_as_of(p_company, p_end) - interval '1 microsecond'), p_currency
        ) AS b
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
    'What the revenue answer of a period is made of, per company; is_converted: no rate was missing.';

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
        analytics_ratio(s.total_revenue, s.total_users),
        analytics_growth(s.total_revenue, s.previous_revenue, s.is_comparable),
        s.invoiced, s.refunds, s.paying_customers,
        analytics_ratio(s.mrr, s.paying_customers),
        s.total_users
    FROM (
        SELECT
            coalesce(sum(c.total_revenue), 0) AS total_revenue,
            coalesce(sum(c.previous_revenue), 0) AS previous_revenue,
            coalesce(bool_and(c.is_comparable), true) AS is_comparable,
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

-- Figures are named as the fields of the answers.
CREATE OR REPLACE FUNCTION analytics_unconverted(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (company_id text, figure text, currency text, amount numeric, first_day date, last_day date)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT u.company_id, u.figure, u.currency, sum(u.amount), min(u.day), max(u.day)
    FROM (
        SELECT r.company_id, r.figure, r.currency, r.original AS amount, r.day
        FROM analytics_converted_revenue(p_company, p_start, p_end, p_currency) AS r
        WHERE r.converted IS NULL
        UNION ALL
        SELECT r.company_id, 'revenueGrowth', r.currency, r.original, r.day
        FROM analytics_converted_revenue(
            p_company, analytics_previous_start(p_start, p_end), p_start, p_currency
        ) AS r
        WHERE r.converted IS NULL AND r.figure = 'totalRevenue'
        UNION ALL
        SELECT b.company_id, 'mrr', b.currency, b.original, d.day
        FROM (SELECT analytics_date(analytics_as_of(p_company, p_end) - interval '1 microsecond') AS day) AS d
        CROSS JOIN LATERAL analytics_mrr_balances(p_company, p_end, d.day, p_currency) AS b
        WHERE b.converted IS NULL
        UNION ALL
        SELECT b.company_id, 'mrrMovements', b.currency, b.original, d.day
        FROM (SELECT analytics_date(analytics_as_of(p_company, p_start) - interval '1 microsecond') AS day) AS d
        CROSS JOIN LATERAL analytics_mrr_balances(p_company, p_start, d.day, p_currency) AS b
        WHERE b.converted IS NULL
        UNION ALL
        SELECT m.company_id, 'mrrMovements', m.currency, m.original, analytics_date(p_start)
        FROM analytics_customer_movements(p_company, p_start, p_end, p_currency) AS m
        WHERE m.converted IS NULL
    ) AS u
    GROUP BY u.company_id, u.figure, u.currency
$$;

COMMENT ON FUNCTION analytics_unconverted IS
    'Amounts that are in no figure because no rate of the 7 days up to their day is known, in their currency.';

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
