-- The figures of periods put together: a row for each row that is asked for, named and numbered as
-- it is. Amounts are in the reporting currency, exact; a ratio is null without a base, or while a part of it lacks a rate.

CREATE OR REPLACE FUNCTION analytics_revenue_figures(p_periods analytics_figure_period[])
RETURNS TABLE (
    place bigint, company_id text, period_start timestamptz, period_end timestamptz, currency text,
    total_revenue numeric, previous_revenue numeric, revenue_growth numeric, invoiced numeric, refunds numeric,
    mrr numeric, arr numeric, paying_customers bigint, arpa numeric, total_users bigint,
    average_revenue_per_user numeric, unconverted jsonb, is_empty boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    asked_for bigint := cardinality(p_periods);
    befores analytics_figure_period[] := ARRAY(
        SELECT ROW(
            w.company_id, analytics_previous_start(w.period_start, w.period_end, w.time_zone), w.period_start, w.currency,
            w.time_zone
        )::analytics_figure_period
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
        ORDER BY w.place
    );
    pending analytics_subscriptions[] := analytics_pending_subscriptions(analytics_period_companies(p_periods));
BEGIN
    RETURN QUERY
    WITH amount AS MATERIALIZED (
        SELECT
            CASE WHEN r.place <= asked_for THEN r.place ELSE r.place - asked_for END AS place,
            CASE WHEN r.place > asked_for THEN 'revenueGrowth' ELSE r.figure END AS figure,
            r.currency, r.day, r.original, r.converted, r.refunds, r.refunded
        FROM analytics_converted_revenue(p_periods || befores) AS r
        WHERE r.place <= asked_for OR r.figure = 'totalRevenue'
    ),
    balance AS MATERIALIZED (
        SELECT b.* FROM analytics_mrr_at_end(p_periods, pending) AS b
    ),
    flow AS (
        SELECT
            a.place,
            sum(a.converted) FILTER (WHERE a.figure = 'totalRevenue') AS total_revenue,
            sum(a.converted) FILTER (WHERE a.figure = 'revenueGrowth') AS previous_revenue,
            sum(a.converted) FILTER (WHERE a.figure = 'invoiced') AS invoiced,
            -sum(a.refunded) FILTER (WHERE a.figure = 'totalRevenue') AS refunds
        FROM amount AS a
        GROUP BY a.place
    ),
    standing AS (
        SELECT b.place, sum(b.converted) AS mrr, sum(b.customers)::bigint AS paying_customers
        FROM balance AS b
        GROUP BY b.place
    ),
    expired AS (
        SELECT
            e.place, bool_or(e.figure = 'totalRevenue') AS total_revenue,
            bool_or(e.figure = 'revenueGrowth') AS previous_revenue, bool_or(e.figure = 'invoiced') AS invoiced
        FROM (
            SELECT
                CASE WHEN x.place <= asked_for THEN x.place ELSE x.place - asked_for END AS place,
                CASE WHEN x.place > asked_for THEN 'revenueGrowth' ELSE x.figure END AS figure
            FROM analytics_expired_amounts(p_periods || befores) AS x
            WHERE x.place <= asked_for OR x.figure = 'totalRevenue'
        ) AS e
        GROUP BY e.place
    ),
    lacking AS (
        SELECT a.place, v.figure, v.part, a.currency, v.amount, a.day
        FROM amount AS a
        CROSS JOIN LATERAL (
            VALUES
                (a.figure, NULL, a.original - a.refunds),
                (
                    CASE WHEN a.figure = 'totalRevenue' THEN 'refunds' ELSE a.figure END,
                    CASE WHEN a.figure = 'revenueGrowth' THEN 'refunds' END,
                    -a.refunds
                )
        ) AS v (figure, part, amount)
        WHERE a.converted IS NULL AND v.amount <> 0
        UNION ALL
        SELECT b.place, 'mrr', NULL, b.currency, b.original, b.day
        FROM balance AS b
        WHERE b.currency IS NOT NULL AND b.converted IS NULL AND b.original <> 0
    )
    SELECT
        w.place, w.company_id, w.period_start, w.period_end, w.currency,
        f.total_revenue, f.previous_revenue, d.revenue_growth, f.invoiced, f.refunds,
        f.mrr, d.arr, f.paying_customers, d.arpa, f.total_users, d.average_revenue_per_user, f.unconverted, f.is_empty
    FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    LEFT JOIN flow AS r ON r.place = w.place
    LEFT JOIN standing AS b ON b.place = w.place
    LEFT JOIN analytics_total_user_figures(p_periods) AS u ON u.place = w.place
    LEFT JOIN analytics_unconverted_lists(ARRAY(
        SELECT ROW(k.place, k.figure, k.part, k.currency, k.amount, k.day, k.day)::analytics_unconverted_amount
        FROM lacking AS k
    )) AS l ON l.place = w.place
    LEFT JOIN expired AS x ON x.place = w.place
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN x.total_revenue IS NOT TRUE THEN coalesce(r.total_revenue, 0) END AS total_revenue,
            CASE WHEN x.previous_revenue IS NOT TRUE THEN coalesce(r.previous_revenue, 0) END AS previous_revenue,
            CASE WHEN x.invoiced IS NOT TRUE THEN coalesce(r.invoiced, 0) END AS invoiced,
            CASE WHEN x.total_revenue IS NOT TRUE THEN coalesce(r.refunds, 0) END AS refunds,
            coalesce(b.mrr, 0) AS mrr,
            coalesce(b.paying_customers, 0) AS paying_customers, coalesce(u.total_users, 0) AS total_users,
            coalesce(l.unconverted, '[]') AS unconverted,
            r.place IS NULL AND b.place IS NULL AND x.place IS NULL AND coalesce(u.total_users, 0) = 0 AS is_empty
    ) AS f
    CROSS JOIN LATERAL analytics_derived_revenue(
        f.total_revenue, f.previous_revenue, f.mrr, f.paying_customers, f.total_users, f.unconverted
    ) AS d;
END
$$;

COMMENT ON FUNCTION analytics_revenue_figures IS
    'The revenue answer of each period, of a company or of all, unrounded; refunds are positive; null where events it needs have expired; is_empty: nothing is known of it.';

CREATE OR REPLACE FUNCTION analytics_mrr_figures(p_periods analytics_figure_period[])
RETURNS TABLE (
    place bigint, company_id text, period_start timestamptz, period_end timestamptz, currency text,
    start_mrr numeric, new numeric, reactivation numeric, expansion numeric, contraction numeric,
    churn numeric, fx numeric, end_mrr numeric, unconverted jsonb,
    expansion_of_paying numeric, new_customers bigint, returned_customers bigint, lost_customers bigint,
    customers_at_start bigint, paying_customers bigint, mrr_at_start numeric, mrr numeric, mrr_year_before numeric,
    total_revenue numeric, total_revenue_year_before numeric,
    gross_mrr_churn_rate numeric, net_mrr_churn_rate numeric, gross_revenue_retention numeric,
    net_revenue_retention numeric, quick_ratio numeric, customer_churn_rate numeric, arpa_growth numeric,
    lifetime_value numeric, total_revenue_year_over_year numeric, mrr_year_over_year numeric, is_empty boolean
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    asked_for bigint := cardinality(p_periods);
    pending analytics_subscriptions[] := analytics_pending_subscriptions(analytics_period_companies(p_periods));
    years_before analytics_figure_period[] := ARRAY(
        SELECT ROW(
            w.company_id, y.period_start, y.period_end, w.currency, w.time_zone
        )::analytics_figure_period
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
        CROSS JOIN LATERAL analytics_year_before(w.period_start, w.period_end, w.time_zone) AS y
        ORDER BY w.place
    );
BEGIN
    RETURN QUERY
    WITH part AS MATERIALIZED (
        SELECT m.*, CASE WHEN NOT m.is_left_out THEN m.converted END AS amount
        FROM analytics_mrr_parts(p_periods, pending) AS m
    ),
    bridge AS (
        SELECT
            p.place,
            sum(p.amount) FILTER (WHERE p.part = 'start') AS start_mrr,
            sum(p.amount) FILTER (WHERE p.part = 'new') AS new,
            sum(p.amount) FILTER (WHERE p.part = 'reactivation') AS reactivation,
            sum(p.amount) FILTER (WHERE p.part = 'expansion') AS expansion,
            sum(p.amount) FILTER (WHERE p.part = 'expansion' AND p.paid_at_start) AS expansion_of_paying,
            -sum(p.amount) FILTER (WHERE p.part = 'contraction') AS contraction,
            -sum(p.amount) FILTER (WHERE p.part = 'churn') AS churn,
            sum(p.amount) FILTER (WHERE p.part = 'end') AS end_mrr,
            -- Left out or not: who pays is known without a rate.
            count(DISTINCT (p.company_id, p.customer)) FILTER (WHERE p.part = 'new') AS new_customers,
            count(DISTINCT (p.company_id, p.customer)) FILTER (WHERE p.part = 'reactivation') AS returned_customers,
            count(DISTINCT (p.company_id, p.customer)) FILTER (WHERE p.part = 'churn') AS lost_customers,
            sum(p.customers) FILTER (WHERE p.part = 'start')::bigint AS customers_at_start,
            sum(p.customers) FILTER (WHERE p.part = 'end')::bigint AS paying_customers,
            sum(p.converted) FILTER (WHERE p.part = 'start') AS mrr_at_start,
            sum(p.converted) FILTER (WHERE p.part = 'end') AS mrr,
            coalesce(bool_and(p.converted IS NOT NULL) FILTER (WHERE p.part = 'start' AND p.currency IS NOT NULL), true)
                AS is_start_converted,
            coalesce(bool_and(p.converted IS NOT NULL) FILTER (WHERE p.part = 'end' AND p.currency IS NOT NULL), true)
                AS is_end_converted
        FROM part AS p
        GROUP BY p.place
    ),
    standing_before AS (
        SELECT b.place, sum(b.converted) AS mrr, bool_and(b.converted IS NOT NULL) AS is_converted
        FROM analytics_mrr_at_end(years_before, pending) AS b
        WHERE b.currency IS NOT NULL
        GROUP BY b.place
    ),
    revenue AS MATERIALIZED (
        SELECT r.place, sum(r.converted) AS total_revenue, bool_and(r.converted IS NOT NULL) AS is_converted
        FROM analytics_converted_revenue(p_periods || years_before, p_with_invoices => false) AS r
        WHERE r.figure = 'totalRevenue'
        GROUP BY r.place
    ),
    expired AS (
        SELECT x.place FROM analytics_expired_amounts(p_periods || years_before) AS x WHERE x.figure = 'totalRevenue'
    )
    SELECT
        w.place, w.company_id, w.period_start, w.period_end, w.currency,
        f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction, f.churn,
        -- What rates did.
        f.end_mrr - f.start_mrr - f.new - f.reactivation - f.expansion + f.contraction + f.churn,
        f.end_mrr, f.unconverted,
        f.expansion_of_paying, f.new_customers, f.returned_customers, f.lost_customers,
        f.customers_at_start, f.paying_customers, f.mrr_at_start, f.mrr, f.mrr_year_before,
        f.total_revenue, f.total_revenue_year_before,
        d.gross_mrr_churn_rate, d.net_mrr_churn_rate, d.gross_revenue_retention, d.net_revenue_retention,
        d.quick_ratio, d.customer_churn_rate, d.arpa_growth, d.lifetime_value,
        d.total_revenue_year_over_year, d.mrr_year_over_year, b.place IS NULL
    FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    LEFT JOIN bridge AS b ON b.place = w.place
    LEFT JOIN analytics_unconverted_lists(ARRAY(
        SELECT ROW(
            p.place,
            -- A balance at the end without a rate is what mrr lacks.
            CASE WHEN p.part = 'end' AND p.converted IS NULL THEN 'mrr' ELSE 'mrrMovements' END,
            CASE WHEN p.part <> 'end' OR p.converted IS NOT NULL THEN p.part END,
            p.currency, abs(p.original), p.first_day, p.last_day
        )::analytics_unconverted_amount
        FROM part AS p
        WHERE p.is_left_out
    )) AS l ON l.place = w.place
    LEFT JOIN standing_before AS s ON s.place = w.place
    LEFT JOIN revenue AS r ON r.place = w.place
    LEFT JOIN revenue AS y ON y.place = w.place + asked_for
    LEFT JOIN expired AS e ON e.place = w.place
    LEFT JOIN expired AS o ON o.place = w.place + asked_for
    CROSS JOIN LATERAL (
        SELECT
            coalesce(b.start_mrr, 0) AS start_mrr, coalesce(b.new, 0) AS new,
            coalesce(b.reactivation, 0) AS reactivation, coalesce(b.expansion, 0) AS expansion,
            coalesce(b.contraction, 0) AS contraction, coalesce(b.churn, 0) AS churn, coalesce(b.end_mrr, 0) AS end_mrr,
            coalesce(l.unconverted, '[]') AS unconverted, coalesce(b.expansion_of_paying, 0) AS expansion_of_paying,
            coalesce(b.new_customers, 0) AS new_customers, coalesce(b.returned_customers, 0) AS returned_customers,
            coalesce(b.lost_customers, 0) AS lost_customers, coalesce(b.customers_at_start, 0) AS customers_at_start,
            coalesce(b.paying_customers, 0) AS paying_customers,
            CASE WHEN b.is_start_converted IS NOT FALSE THEN coalesce(b.mrr_at_start, 0) END AS mrr_at_start,
            CASE WHEN b.is_end_converted IS NOT FALSE THEN coalesce(b.mrr, 0) END AS mrr,
            CASE WHEN s.is_converted IS NOT FALSE THEN coalesce(s.mrr, 0) END AS mrr_year_before,
            CASE WHEN r.is_converted IS NOT FALSE AND e.place IS NULL THEN coalesce(r.total_revenue, 0) END
                AS total_revenue,
            CASE WHEN y.is_converted IS NOT FALSE AND o.place IS NULL THEN coalesce(y.total_revenue, 0) END
                AS total_revenue_year_before
    ) AS f
    CROSS JOIN LATERAL analytics_derived_mrr(
        w.period_start, w.period_end, w.time_zone, f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction,
        f.churn, f.unconverted, f.expansion_of_paying, f.lost_customers, f.customers_at_start, f.paying_customers,
        f.mrr_at_start, f.mrr, f.mrr_year_before, f.total_revenue, f.total_revenue_year_before
    ) AS d;
END
$$;

COMMENT ON FUNCTION analytics_mrr_figures IS
    'MRR at the start and the end of each period, what moved it and the rates that follow, of a company or of all, unrounded; losses are positive; is_empty: there was none.';

-- From the movements as they stand. Balances and revenue are null where an amount of them lacks a rate.
CREATE OR REPLACE FUNCTION analytics_derived_mrr(
    p_start timestamptz, p_end timestamptz, p_zone text,
    p_start_mrr numeric, p_new numeric, p_reactivation numeric, p_expansion numeric, p_contraction numeric,
    p_churn numeric, p_unconverted jsonb, p_expansion_of_paying numeric, p_lost_customers bigint,
    p_customers_at_start bigint, p_paying_customers bigint, p_mrr_at_start numeric, p_mrr numeric,
    p_mrr_year_before numeric, p_total_revenue numeric, p_total_revenue_year_before numeric
)
RETURNS TABLE (
    gross_mrr_churn_rate numeric, net_mrr_churn_rate numeric, gross_revenue_retention numeric,
    net_revenue_retention numeric, quick_ratio numeric, customer_churn_rate numeric, arpa_growth numeric,
    lifetime_value numeric, total_revenue_year_over_year numeric, mrr_year_over_year numeric
)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT
        analytics_percentage(m.lost, m.start_mrr),
        analytics_percentage(m.lost - p_expansion - p_reactivation, m.start_mrr),
        analytics_percentage(m.start_mrr - m.lost, m.start_mrr),
        analytics_percentage(m.start_mrr - m.lost + p_expansion_of_paying, m.start_mrr),
        CASE WHEN m.lost > 0 THEN analytics_fraction(p_new + p_reactivation + p_expansion, 1, m.lost) END,
        c.churn_rate,
        analytics_growth(m.arpa, m.arpa_before, true),
        -- Of a calendar month: no other period has the month's churn.
        CASE
            WHEN c.churn_rate > 0
             AND p_start = analytics_local_floor('month', p_start, p_zone)
             AND p_end = analytics_local_ceil('month', p_start + interval '1 microsecond', p_zone)
            THEN analytics_fraction(m.arpa, 100, c.churn_rate)
        END,
        analytics_growth(p_total_revenue, p_total_revenue_year_before, true),
        analytics_growth(p_mrr, p_mrr_year_before, true)
    FROM (
        SELECT
            CASE WHEN p_unconverted = '[]' THEN p_start_mrr END AS start_mrr,
            CASE WHEN p_unconverted = '[]' THEN p_contraction + p_churn END AS lost,
            analytics_ratio(p_mrr, p_paying_customers) AS arpa,
            analytics_ratio(p_mrr_at_start, p_customers_at_start) AS arpa_before
    ) AS m
    CROSS JOIN (SELECT analytics_percentage(p_lost_customers, p_customers_at_start) AS churn_rate) AS c
$$;

COMMENT ON FUNCTION analytics_derived_mrr IS
    'The rates of a subscription business that follow from the stored figures of a period; null without a base, or while an amount lacks a rate.';

-- Figures that lack an amount are named in the list of what is not converted.
CREATE OR REPLACE FUNCTION analytics_derived_revenue(
    p_total_revenue numeric, p_previous_revenue numeric, p_mrr numeric,
    p_paying_customers bigint, p_total_users bigint, p_unconverted jsonb
)
RETURNS TABLE (revenue_growth numeric, arr numeric, arpa numeric, average_revenue_per_user numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT
        analytics_growth(p_total_revenue, p_previous_revenue, i.lacks_no_revenue AND i.lacks_no_growth),
        12 * p_mrr,
        CASE WHEN i.lacks_no_mrr THEN analytics_ratio(p_mrr, p_paying_customers) END,
        CASE WHEN i.lacks_no_revenue THEN analytics_ratio(p_total_revenue, p_total_users) END
    FROM (
        SELECT
            NOT jsonb_path_exists(p_unconverted, '$[*].figure ? (@ == "totalRevenue" || @ == "refunds")')
                AS lacks_no_revenue,
            NOT jsonb_path_exists(p_unconverted, '$[*].figure ? (@ == "revenueGrowth")') AS lacks_no_growth,
            NOT jsonb_path_exists(p_unconverted, '$[*].figure ? (@ == "mrr")') AS lacks_no_mrr
    ) AS i
$$;

COMMENT ON FUNCTION analytics_derived_revenue IS
    'What follows from the stored figures of a period: growth in per cent, ARR, and amounts per customer and per user.';

CREATE OR REPLACE FUNCTION analytics_unconverted_entry(
    p_figure text, p_part text, p_currency text, p_amount numeric, p_first_day date, p_last_day date
)
RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'figure', p_figure, 'part', p_part, 'currency', p_currency, 'amount', p_amount,
        'first_day', p_first_day, 'last_day', p_last_day
    ))
$$;

COMMENT ON FUNCTION analytics_unconverted_entry IS
    'An amount that figures are without for want of a rate, as it stands in their list: figures are named as the fields of the answers, part says what of a figure with several it is.';

-- Gains and losses of days, payments and refunds are apart: amounts of one entry have one sign.
CREATE OR REPLACE FUNCTION analytics_unconverted_lists(p_amounts analytics_unconverted_amount[])
RETURNS TABLE (place bigint, unconverted jsonb)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        e.place,
        jsonb_agg(
            analytics_unconverted_entry(e.figure, e.part, e.currency, e.amount, e.first_day, e.last_day)
            ORDER BY e.figure, e.part NULLS FIRST, e.currency, e.amount
        )
    FROM (
        SELECT
            a.place, a.figure, a.part, a.currency,
            sum(a.amount) AS amount, min(a.first_day) AS first_day, max(a.last_day) AS last_day
        FROM unnest(p_amounts) AS a
        GROUP BY a.place, a.figure, a.part, a.currency, a.amount < 0
    ) AS e
    GROUP BY e.place
$$;

COMMENT ON FUNCTION analytics_unconverted_lists IS
    'What the figures of each period are without for want of a rate, as its list: of periods that lack nothing there is no row.';

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

CREATE OR REPLACE FUNCTION analytics_event_counts(p_company text, p_ranges tstzmultirange)
RETURNS TABLE (company_id text, event_type text, category text, events bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
    part tstzrange;
BEGIN
    FOREACH part IN ARRAY ARRAY(SELECT r FROM unnest(p_ranges) AS r)
    LOOP
        RETURN QUERY
        SELECT e.company_id, e.event_type, e.category, count(*)
        FROM analytics_events AS e
        WHERE e."timestamp" >= lower(part) AND e."timestamp" < upper(part)
          AND (p_company IS NULL OR e.company_id = p_company)
        GROUP BY e.company_id, e.event_type, e.category;
    END LOOP;
END
$$;

COMMENT ON FUNCTION analytics_event_counts IS
    'How many events of each type there are in some ranges of time, counted over the events; a null company means all.';

CREATE OR REPLACE FUNCTION analytics_top_events(
    p_company text, p_start timestamptz, p_end timestamptz, p_most integer
)
RETURNS TABLE (event_type text, category text, events bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whole hours that are stored from the hours, everything else from the events.
    WITH asked AS MATERIALIZED (
        SELECT
            w.span,
            w.hours - analytics_unstored('hour', ARRAY['analytics_event_volume_hourly'], w.hours) AS stored_hours
        FROM (
            SELECT s.span, s.span - analytics_split('hour', ARRAY[p_start, p_end]) AS hours
            FROM (SELECT tstzmultirange(tstzrange(p_start, p_end))) AS s (span)
        ) AS w
    )
    SELECT v.event_type, v.category, sum(v.events)::bigint
    FROM (
        SELECT h.company_id, h.event_type, h.category, h.event_count AS events
        FROM analytics_event_volume_hourly AS h
        -- No chunk is opened where no hour is whole.
        WHERE analytics_ceil('hour', p_start) < analytics_floor('hour', p_end)
          AND h.bucket >= analytics_ceil('hour', p_start) AND h.bucket < analytics_floor('hour', p_end)
          AND (SELECT a.stored_hours FROM asked AS a) @> h.bucket
          AND (p_company IS NULL OR h.company_id = p_company)
        UNION ALL
        SELECT e.company_id, e.event_type, e.category, e.events
        FROM asked AS a
        CROSS JOIN LATERAL analytics_event_counts(p_company, a.span - a.stored_hours) AS e
    ) AS v
    WHERE p_company IS NOT NULL OR v.company_id <> ALL ((SELECT analytics_test_companies())::text[])
    GROUP BY v.event_type, v.category
    ORDER BY sum(v.events) DESC, v.event_type, v.category
    LIMIT p_most
$$;

COMMENT ON FUNCTION analytics_top_events IS
    'The most frequent event types of any period with their counts.';

-- As the rows of the other metric tables (metric_tables.sql).
CREATE OR REPLACE FUNCTION analytics_mrr_movements_rows(
    p_granularity text, p_first date, p_until date, p_zone text, p_currency text, p_version integer,
    p_zones text[] DEFAULT NULL, p_only text[] DEFAULT NULL, p_ended_by timestamptz DEFAULT now()
)
RETURNS TABLE (
    company_id text, granularity text, period_start timestamptz, period_end timestamptz, currency text,
    start_mrr numeric, new numeric, reactivation numeric, expansion numeric, contraction numeric,
    churn numeric, fx numeric, end_mrr numeric, unconverted jsonb, definitions_version integer,
    expansion_of_paying numeric, new_customers bigint, returned_customers bigint, lost_customers bigint,
    customers_at_start bigint, paying_customers bigint, mrr_at_start numeric, mrr numeric, mrr_year_before numeric,
    total_revenue numeric, total_revenue_year_before numeric,
    gross_mrr_churn_rate numeric, net_mrr_churn_rate numeric, gross_revenue_retention numeric,
    net_revenue_retention numeric, quick_ratio numeric, customer_churn_rate numeric, arpa_growth numeric,
    lifetime_value numeric, total_revenue_year_over_year numeric, mrr_year_over_year numeric, time_zone text
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        f.company_id, p_granularity, f.period_start, f.period_end, f.currency,
        f.start_mrr, f.new, f.reactivation, f.expansion, f.contraction, f.churn, f.fx, f.end_mrr,
        f.unconverted, p_version,
        f.expansion_of_paying, f.new_customers, f.returned_customers, f.lost_customers,
        f.customers_at_start, f.paying_customers, f.mrr_at_start, f.mrr, f.mrr_year_before,
        f.total_revenue, f.total_revenue_year_before,
        f.gross_mrr_churn_rate, f.net_mrr_churn_rate, f.gross_revenue_retention, f.net_revenue_retention,
        f.quick_ratio, f.customer_churn_rate, f.arpa_growth, f.lifetime_value,
        f.total_revenue_year_over_year, f.mrr_year_over_year, z.time_zone
    FROM analytics_company_periods(
        p_granularity, p_first, p_until, p_zone, p_currency, p_zones, p_only, p_ended_by
    ) AS z
    CROSS JOIN LATERAL analytics_mrr_figures(z.periods) AS f
    WHERE NOT f.is_empty
$$;

COMMENT ON FUNCTION analytics_mrr_movements_rows IS
    'What analytics_mrr_movements must hold of the days, months or years from a date on up to, not including, another.';
