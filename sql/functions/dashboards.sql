-- What dashboards of operators ask: figures of one company, or (null) of all together, in one call. Without a time zone
-- as they are stored, of each company's own days or months; in another one they are computed, as far as the metric is
-- closed. An amount of which a part lacks a rate is null: a chart could not say so.

CREATE OR REPLACE FUNCTION analytics_shown_periods(
    p_metric text, p_companies text[], p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text,
    p_zone text
)
RETURNS analytics_figure_period[]
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        array_agg(
            ROW(c.company_id, p.period_start, p.period_end, p_currency, p_zone)::analytics_figure_period
            ORDER BY p.period_start, c.company_id
        ),
        '{}'
    )
    FROM analytics_periods(
        p_granularity, analytics_local_ceil(p_granularity, p_start, p_zone),
        analytics_local_ceil(p_granularity, p_end, p_zone), p_zone
    ) AS p
    CROSS JOIN unnest(p_companies) AS c (company_id)
    WHERE tstzrange(p.period_start, p.period_end) <@ (
        SELECT range_agg(tstzrange(m.period_start, m.period_end))
        FROM analytics_metric_periods AS m
        -- Of the first year what lies before the first closed month is not closed.
        WHERE m.metric = p_metric AND m.granularity <> 'year'
    )
$$;

COMMENT ON FUNCTION analytics_shown_periods IS
    'The days or months of a time zone that begin in a half-open window and of which all is closed of a metric, of each of these companies (null: of all together).';

CREATE OR REPLACE FUNCTION analytics_revenue_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text DEFAULT NULL,
    p_zone text DEFAULT NULL
)
RETURNS TABLE (
    company_id text, time_zone text, period_start timestamptz, period_end timestamptz, currency text,
    total_revenue numeric, previous_revenue numeric, revenue_growth numeric, invoiced numeric, refunds numeric,
    mrr numeric, arr numeric, paying_customers bigint, arpa numeric, total_users bigint,
    average_revenue_per_user numeric
)
LANGUAGE sql STABLE
AS $$
    SELECT
        s.company_id, s.time_zone, s.period_start, s.period_end, s.currency,
        CASE WHEN NOT s.unconverted @> '[{"figure": "totalRevenue"}]' THEN s.total_revenue END,
        CASE WHEN NOT s.unconverted @> '[{"figure": "revenueGrowth"}]' THEN s.previous_revenue END,
        s.revenue_growth,
        CASE WHEN NOT s.unconverted @> '[{"figure": "invoiced"}]' THEN s.invoiced END,
        CASE WHEN NOT s.unconverted @> '[{"figure": "refunds"}]' THEN s.refunds END,
        CASE WHEN NOT s.unconverted @> '[{"figure": "mrr"}]' THEN s.mrr END,
        CASE WHEN NOT s.unconverted @> '[{"figure": "mrr"}]' THEN s.arr END,
        s.paying_customers, s.arpa, s.total_users, s.average_revenue_per_user
    FROM (
        SELECT
            c.company_id, c.time_zone, c.period_start, c.period_end, c.currency,
            c.total_revenue, c.previous_revenue, c.revenue_growth, c.invoiced, c.refunds,
            c.mrr, c.arr, c.paying_customers, c.arpa, c.total_users, c.average_revenue_per_user, c.unconverted
        FROM analytics_closed_revenue(p_granularity, p_start, p_end, ARRAY[p_company], p_company IS NULL) AS c
        WHERE p_zone IS NULL AND (p_currency IS NULL OR c.currency = p_currency)
        UNION ALL
        SELECT
            f.company_id, p_zone, f.period_start, f.period_end, f.currency,
            f.total_revenue, f.previous_revenue, f.revenue_growth, f.invoiced, f.refunds,
            f.mrr, f.arr, f.paying_customers, f.arpa, f.total_users, f.average_revenue_per_user, f.unconverted
        FROM analytics_revenue_figures(analytics_shown_periods(
            'revenue_metrics', ARRAY[p_company], p_granularity, p_start, p_end, p_currency, p_zone
        )) AS f
        WHERE p_zone IS NOT NULL AND NOT f.is_empty
    ) AS s
    ORDER BY s.period_start
$$;

COMMENT ON FUNCTION analytics_revenue_shown IS
    'Revenue of closed days or months that begin in a half-open window, of a company or (null) of all together: as it is stored, in any currency unless one is named, or computed in a currency for a time zone.';

CREATE OR REPLACE FUNCTION analytics_movements_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text DEFAULT NULL,
    p_zone text DEFAULT NULL
)
RETURNS TABLE (
    company_id text, time_zone text, period_start timestamptz, period_end timestamptz, currency text,
    start_mrr numeric, new numeric, reactivation numeric, expansion numeric, contraction numeric, churn numeric,
    fx numeric, end_mrr numeric, gross_mrr_churn_rate numeric, net_mrr_churn_rate numeric,
    gross_revenue_retention numeric, net_revenue_retention numeric, quick_ratio numeric, customer_churn_rate numeric
)
LANGUAGE sql STABLE
AS $$
    SELECT
        s.company_id, s.time_zone, s.period_start, s.period_end, s.currency,
        CASE WHEN s.is_whole THEN s.start_mrr END, CASE WHEN s.is_whole THEN s.new END,
        CASE WHEN s.is_whole THEN s.reactivation END, CASE WHEN s.is_whole THEN s.expansion END,
        CASE WHEN s.is_whole THEN s.contraction END, CASE WHEN s.is_whole THEN s.churn END,
        CASE WHEN s.is_whole THEN s.fx END, CASE WHEN s.is_whole THEN s.end_mrr END,
        s.gross_mrr_churn_rate, s.net_mrr_churn_rate, s.gross_revenue_retention, s.net_revenue_retention,
        s.quick_ratio, s.customer_churn_rate
    FROM (
        SELECT
            c.company_id, c.time_zone, c.period_start, c.period_end, c.currency,
            c.start_mrr, c.new, c.reactivation, c.expansion, c.contraction, c.churn, c.fx, c.end_mrr,
            c.gross_mrr_churn_rate, c.net_mrr_churn_rate, c.gross_revenue_retention, c.net_revenue_retention,
            c.quick_ratio, c.customer_churn_rate, c.unconverted = '[]' AS is_whole
        FROM analytics_closed_movements(p_granularity, p_start, p_end, ARRAY[p_company], p_company IS NULL) AS c
        WHERE p_zone IS NULL AND (p_currency IS NULL OR c.currency = p_currency)
        UNION ALL
        SELECT
            f.company_id, p_zone, f.period_start, f.period_end, f.currency,
            f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction, f.churn, f.fx, f.end_mrr,
            f.gross_mrr_churn_rate, f.net_mrr_churn_rate, f.gross_revenue_retention, f.net_revenue_retention,
            f.quick_ratio, f.customer_churn_rate, f.unconverted = '[]'
        FROM analytics_mrr_figures(analytics_shown_periods(
            'mrr_movements', ARRAY[p_company], p_granularity, p_start, p_end, p_currency, p_zone
        )) AS f
        WHERE p_zone IS NOT NULL AND NOT f.is_empty
    ) AS s
    ORDER BY s.period_start
$$;

COMMENT ON FUNCTION analytics_movements_shown IS
    'What moved MRR in closed days or months that begin in a half-open window, of a company or (null) of all together: as it is stored, in any currency unless one is named, or computed in a currency for a time zone.';

CREATE OR REPLACE FUNCTION analytics_users_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz, p_zone text DEFAULT NULL
)
RETURNS TABLE (
    company_id text, time_zone text, period_start timestamptz, period_end timestamptz,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint, users_at_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric
)
LANGUAGE sql STABLE
AS $$
    SELECT
        c.company_id, c.time_zone, c.period_start, c.period_end, c.total_users, c.active_users, c.new_users,
        c.churned_users, c.users_at_start, c.churn_rate, c.active_user_rate, c.churn_rate_of_start
    FROM analytics_closed_users(p_granularity, p_start, p_end, ARRAY[p_company], p_company IS NULL) AS c
    WHERE p_zone IS NULL
    UNION ALL
    SELECT
        a.company_id, p_zone, a.period_start, a.period_end, a.total_users, a.active_users, a.new_users,
        a.churned_users, a.users_at_start, a.churn_rate, a.active_user_rate, a.churn_rate_of_start
    FROM analytics_user_answers(analytics_shown_periods(
        'user_metrics', ARRAY[p_company], p_granularity, p_start, p_end, NULL, p_zone
    )) AS a
    WHERE p_zone IS NOT NULL AND a.seen_users > 0
    ORDER BY 3
$$;

COMMENT ON FUNCTION analytics_users_shown IS
    'Users of closed days or months that begin in a half-open window, of a company or (null) of all together: as they are stored, or computed for a time zone.';

-- Companies side by side: of each its newest period in the window. Where the date of some has ended and that of others has
-- not, those have the one before.
CREATE OR REPLACE FUNCTION analytics_company_revenue_shown(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text, p_zone text DEFAULT NULL
)
RETURNS TABLE (
    company_id text, period_start timestamptz, total_revenue numeric, revenue_growth numeric, mrr numeric, arr numeric,
    paying_customers bigint, arpa numeric
)
LANGUAGE sql STABLE
AS $$
    SELECT
        s.company_id, s.period_start,
        CASE WHEN NOT s.unconverted @> '[{"figure": "totalRevenue"}]' THEN s.total_revenue END,
        s.revenue_growth,
        CASE WHEN NOT s.unconverted @> '[{"figure": "mrr"}]' THEN s.mrr END,
        CASE WHEN NOT s.unconverted @> '[{"figure": "mrr"}]' THEN s.arr END,
        s.paying_customers, s.arpa
    FROM (
        (
            SELECT DISTINCT ON (m.company_id)
                m.company_id, m.period_start, m.total_revenue, m.revenue_growth, m.mrr, m.arr, m.paying_customers,
                m.arpa, m.unconverted
            FROM analytics_closed_revenue(p_granularity, p_start, p_end, NULL, false) AS m
            WHERE p_zone IS NULL AND m.currency = p_currency AND m.period_date >= (
                SELECT max(n.period_date) - ('1 ' || p_granularity)::interval
                FROM analytics_closed_revenue(p_granularity, p_start, p_end, NULL, false) AS n
            )
            ORDER BY m.company_id, m.period_date DESC
        )
        UNION ALL
        SELECT
            f.company_id, f.period_start, f.total_revenue, f.revenue_growth, f.mrr, f.arr, f.paying_customers, f.arpa,
            f.unconverted
        FROM (
            SELECT max(w.period_start) AS period_start, max(w.period_end) AS period_end
            FROM unnest(analytics_shown_periods(
                'revenue_metrics', ARRAY[NULL::text], p_granularity, p_start, p_end, p_currency, p_zone
            )) AS w
        ) AS newest
        CROSS JOIN LATERAL analytics_revenue_figures(ARRAY(
            SELECT ROW(c.company_id, newest.period_start, newest.period_end, p_currency, p_zone)::analytics_figure_period
            FROM unnest(analytics_companies_of(
                analytics_previous_start(newest.period_start, newest.period_end, p_zone), newest.period_end
            )) AS c (company_id)
        )) AS f
        WHERE p_zone IS NOT NULL AND newest.period_start IS NOT NULL AND NOT f.is_empty
    ) AS s
    ORDER BY 5 DESC NULLS LAST, 1
$$;

COMMENT ON FUNCTION analytics_company_revenue_shown IS
    'Revenue of every company in its newest closed day or month that begins in a half-open window: as it is stored, or computed in a currency for a time zone.';

CREATE OR REPLACE FUNCTION analytics_company_users_shown(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_zone text DEFAULT NULL
)
RETURNS TABLE (
    company_id text, period_start timestamptz, total_users bigint, active_users bigint, new_users bigint,
    churned_users bigint, churn_rate numeric, active_user_rate numeric
)
LANGUAGE sql STABLE
AS $$
    (
        SELECT DISTINCT ON (m.company_id)
            m.company_id, m.period_start, m.total_users, m.active_users, m.new_users, m.churned_users, m.churn_rate,
            m.active_user_rate
        FROM analytics_closed_users(p_granularity, p_start, p_end, NULL, false) AS m
        WHERE p_zone IS NULL AND m.period_date >= (
            SELECT max(n.period_date) - ('1 ' || p_granularity)::interval
            FROM analytics_closed_users(p_granularity, p_start, p_end, NULL, false) AS n
        )
        ORDER BY m.company_id, m.period_date DESC
    )
    UNION ALL
    SELECT
        a.company_id, a.period_start, a.total_users, a.active_users, a.new_users, a.churned_users, a.churn_rate,
        a.active_user_rate
    FROM (
        SELECT max(w.period_start) AS period_start, max(w.period_end) AS period_end
        FROM unnest(analytics_shown_periods(
            'user_metrics', ARRAY[NULL::text], p_granularity, p_start, p_end, NULL, p_zone
        )) AS w
    ) AS newest
    CROSS JOIN LATERAL analytics_user_answers(ARRAY(
        SELECT ROW(c.company_id, newest.period_start, newest.period_end, NULL, p_zone)::analytics_figure_period
        FROM unnest(analytics_user_companies(newest.period_end)) AS c (company_id)
    )) AS a
    WHERE p_zone IS NOT NULL AND newest.period_start IS NOT NULL AND a.seen_users > 0
    ORDER BY 3 DESC, 1
$$;

COMMENT ON FUNCTION analytics_company_users_shown IS
    'Users of every company in its newest closed day or month that begins in a half-open window: as they are stored, or computed for a time zone.';

-- Crypto figures are stored nowhere, so these are computed in any case.
CREATE OR REPLACE FUNCTION analytics_crypto_shown(
    p_company text, p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text,
    p_zone text DEFAULT NULL
)
RETURNS TABLE (
    period_start timestamptz, ticker text, received numeric, sent numeric, swapped numeric,
    received_value numeric, sent_value numeric, swapped_value numeric, transactions bigint
)
LANGUAGE sql STABLE
AS $$
    SELECT
        p.period_start, a.ticker, a.received, a.sent, a.swapped, a.received_value, a.sent_value, a.swapped_value,
        a.transactions
    FROM (
        SELECT coalesce(
            p_zone,
            (SELECT c.time_zone FROM analytics_companies AS c WHERE c.company_id = p_company),
            (
                SELECT m.time_zone FROM analytics_metric_periods AS m
                WHERE m.is_platform
                ORDER BY m.computed_at DESC
                LIMIT 1
            ),
            'UTC'
        ) AS time_zone,
        -- There is nothing before the first transaction, however far back somebody asks.
        (SELECT analytics_floor('month', min(d.bucket)) - interval '1 month' FROM analytics_crypto_daily AS d)
            AS first_day
    ) AS z
    CROSS JOIN LATERAL analytics_periods(
        p_granularity, analytics_local_ceil(p_granularity, greatest(p_start, z.first_day), z.time_zone),
        analytics_local_floor(p_granularity, least(p_end, now()), z.time_zone), z.time_zone
    ) AS p
    CROSS JOIN LATERAL analytics_crypto_assets(p_company, p.period_start, p.period_end, p_currency, z.time_zone) AS a
    -- Days of other zones are made of events: of those that have expired there is nothing to show.
    WHERE z.time_zone = 'UTC' OR p.period_start >= coalesce(analytics_events_from(), '-infinity')
    ORDER BY p.period_start, a.ticker
$$;

COMMENT ON FUNCTION analytics_crypto_shown IS
    'What analytics_crypto_assets answers of each whole day or month of a time zone in a half-open window, of a company or (null) of all.';


-- With the owner's rights: who may look at dashboards may read neither events nor aggregates, of which figures in another
-- time zone are made.
DO $$
DECLARE
    shown regprocedure;
BEGIN
    FOR shown IN
        SELECT p.oid
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND p.proname ~ '^analytics_(revenue|movements|users|company_revenue|company_users|crypto)_shown$'
    LOOP
        EXECUTE format(
            'ALTER FUNCTION %s SECURITY DEFINER SET search_path = pg_catalog, %I, %s, pg_temp',
            shown, current_schema(),
            (SELECT x.extnamespace::regnamespace FROM pg_extension AS x WHERE x.extname = 'timescaledb')
        );
    END LOOP;
END
$$;
