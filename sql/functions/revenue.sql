-- Revenue: payments received minus refunds, each on its own date (cash basis), and what was invoiced.
-- Periods are half-open instants; a null company means all companies but those marked as test; amounts of different
-- currencies are never added.

-- Bounds are sorted, and number the stretches between them: stretch n begins with bound n. Time is cut at more instants
-- than these where amounts of each date are wanted. Days that are not cut are read from the days, hours of the other days
-- from the hours, the rest from the events, and so is what is not stored: each is read once, and no chunk is opened for what
-- is not asked for. Amounts of one currency may be wanted of each stretch as a whole: what comes out is added up again and
-- again, so it had better be few rows.
CREATE OR REPLACE FUNCTION analytics_revenue_pieces(
    p_bounds timestamptz[], p_cuts timestamptz[], p_wanted tstzmultirange, p_companies text[], p_except text,
    p_summed text, p_with_invoices boolean
)
RETURNS TABLE (
    company_id text, currency text, instant timestamptz, is_day boolean, stretch integer,
    revenue numeric, refunds numeric, transactions bigint, invoiced numeric
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    uncut_days tstzmultirange := p_wanted - analytics_split('day', p_cuts);
    unstored_days tstzmultirange := analytics_unstored(
        'day',
        ARRAY['analytics_revenue_hourly', 'analytics_revenue_daily']
            || CASE WHEN p_with_invoices THEN ARRAY['analytics_billing_daily'] END,
        uncut_days
    );
    days tstzmultirange := uncut_days - unstored_days;
    uncut_hours tstzmultirange := p_wanted - uncut_days - analytics_split('hour', p_cuts);
    hours tstzmultirange := uncut_hours - analytics_unstored('hour', ARRAY['analytics_revenue_hourly'], uncut_hours);
    moments tstzmultirange := p_wanted - days - hours;
    -- What is invoiced has no hours.
    from_events tstzmultirange := CASE WHEN p_with_invoices THEN hours + moments ELSE moments END;
    -- In order: they number what lies between them.
    cuts timestamptz[] := ARRAY(SELECT DISTINCT c FROM unnest(p_cuts) AS c ORDER BY c);
    span tstzrange;
BEGIN
    -- Rows of a span without gaps need no test each, and the planner knows how many they are.
    FOREACH span IN ARRAY analytics_spans(days) LOOP
        RETURN QUERY
        SELECT
            d.company_id, d.currency, min(d.bucket), true, d.stretch,
            sum(d.total_value), sum(d.refund_value), sum(d.event_count)::bigint, NULL::numeric
        FROM (
            SELECT
                r.*, width_bucket(r.bucket, p_bounds) AS stretch,
                CASE WHEN p_summed IS NULL OR r.currency <> p_summed THEN r.bucket END AS apart
            FROM analytics_revenue_daily AS r
            WHERE r.bucket >= lower(span) AND r.bucket < upper(span)
              AND (days @> span OR days @> tstzrange(r.bucket, r.bucket, '[]'))
              AND (p_companies IS NULL OR r.company_id = ANY (p_companies))
              AND (p_except IS NULL OR r.currency <> p_except)
        ) AS d
        GROUP BY d.company_id, d.currency, d.stretch, d.apart;
        CONTINUE WHEN NOT p_with_invoices;
        RETURN QUERY
        SELECT
            d.company_id, d.currency, min(d.bucket), true, d.stretch,
            NULL::numeric, NULL::numeric, 0::bigint, sum(d.total_value)
        FROM (
            SELECT
                b.*, width_bucket(b.bucket, p_bounds) AS stretch,
                CASE WHEN p_summed IS NULL OR b.currency <> p_summed THEN b.bucket END AS apart
            FROM analytics_billing_daily AS b
            WHERE b.bucket >= lower(span) AND b.bucket < upper(span)
              AND (days @> span OR days @> tstzrange(b.bucket, b.bucket, '[]'))
              AND (p_companies IS NULL OR b.company_id = ANY (p_companies))
              AND (p_except IS NULL OR b.currency <> p_except)
        ) AS d
        GROUP BY d.company_id, d.currency, d.stretch, d.apart;
    END LOOP;
    FOREACH span IN ARRAY analytics_spans(hours) LOOP
        RETURN QUERY
        SELECT
            h.company_id, h.currency, min(h.bucket), false, h.stretch,
            sum(h.total_value), sum(h.refund_value), sum(h.event_count)::bigint, NULL::numeric
        FROM (
            SELECT
                r.*, width_bucket(r.bucket, p_bounds) AS stretch,
                CASE WHEN p_summed IS NULL OR r.currency <> p_summed THEN r.bucket END AS apart
            FROM analytics_revenue_hourly AS r
            WHERE r.bucket >= lower(span) AND r.bucket < upper(span)
              AND (hours @> span OR hours @> tstzrange(r.bucket, r.bucket, '[]'))
              AND (p_companies IS NULL OR r.company_id = ANY (p_companies))
              AND (p_except IS NULL OR r.currency <> p_except)
        ) AS h
        GROUP BY h.company_id, h.currency, h.stretch, h.apart;
    END LOOP;
    -- Of events even a short gap is many. Those of an hour (UTC) that no instant cuts go together.
    FOREACH span IN ARRAY analytics_spans(from_events, interval '48 hours') LOOP
        RETURN QUERY
        SELECT
            f.company_id, f.currency, min(f."timestamp"), false, f.stretch,
            sum(f.value) FILTER (WHERE f.is_revenue),
            sum(f.value) FILTER (WHERE f.is_revenue AND f.event_type = 'payment.refunded'),
            count(*) FILTER (WHERE f.is_revenue),
            sum(f.value) FILTER (WHERE NOT f.is_revenue)
        FROM (
            SELECT
                e.company_id, e.currency, e."timestamp", e.event_type, e.value, e.category = 'revenue' AS is_revenue,
                width_bucket(e."timestamp", p_bounds) AS stretch,
                CASE WHEN p_summed IS NULL OR e.currency <> p_summed THEN analytics_floor('hour', e."timestamp") END
                    AS apart,
                CASE WHEN p_summed IS NULL OR e.currency <> p_summed THEN width_bucket(e."timestamp", cuts) END
                    AS cut
            FROM analytics_events AS e
            WHERE e."timestamp" >= lower(span) AND e."timestamp" < upper(span)
              AND (
                  (
                      p_with_invoices AND e.category = 'billing'
                      AND (from_events @> span OR from_events @> tstzrange(e."timestamp", e."timestamp", '[]'))
                  )
                  OR (
                      e.category = 'revenue'
                      AND (moments @> span OR moments @> tstzrange(e."timestamp", e."timestamp", '[]'))
                  )
              )
              AND (p_companies IS NULL OR e.company_id = ANY (p_companies))
              AND (p_except IS NULL OR e.currency <> p_except)
        ) AS f
        GROUP BY f.company_id, f.currency, f.stretch, f.apart, f.cut;
    END LOOP;
END
$$;

COMMENT ON FUNCTION analytics_revenue_pieces IS
    'Revenue, its refunds (negative or null), transactions and what was invoiced: whole days (UTC), or what lies at or after an instant and before the next cut, to be summed; without the amounts of one currency, and with those of another summed over each stretch, if they are named.';

-- Amounts in the currency they are reported in need no rate, and so no date: the days of UTC that no bound cuts are read
-- whole. Of other amounts each day with one is cut where a date of the zone begins. Without a currency all are others.
CREATE OR REPLACE FUNCTION analytics_local_revenue_pieces(
    p_bounds timestamptz[], p_wanted tstzmultirange, p_companies text[], p_currency text, p_zone text,
    p_with_invoices boolean
)
RETURNS TABLE (
    company_id text, currency text, day date, stretch integer,
    revenue numeric, refunds numeric, transactions bigint, invoiced numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH edge AS MATERIALIZED (
        SELECT p_bounds || analytics_local_cuts(p_wanted * analytics_split('day', p_bounds), p_zone) AS cuts
    ),
    whole AS MATERIALIZED (
        SELECT p.*
        FROM edge AS e
        CROSS JOIN LATERAL analytics_revenue_pieces(
            p_bounds, e.cuts, p_wanted, p_companies, NULL, p_currency, p_with_invoices
        ) AS p
    ),
    other_day AS MATERIALIZED (
        SELECT
            d.days, p_bounds || analytics_local_cuts(d.days, p_zone) AS cuts
        FROM (
            SELECT coalesce(range_agg(tstzrange(w.instant, w.instant + interval '24 hours')), '{}') AS days
            FROM whole AS w
            WHERE w.is_day AND w.currency IS DISTINCT FROM p_currency
        ) AS d
        WHERE NOT isempty(d.days)
    ),
    piece AS MATERIALIZED (
        SELECT s.*, (s.instant AT TIME ZONE p_zone)::date AS clock_date
        FROM (
            SELECT w.* FROM whole AS w WHERE NOT w.is_day OR w.currency = p_currency
            UNION ALL
            SELECT p.*
            FROM other_day AS d
            CROSS JOIN LATERAL analytics_revenue_pieces(
                p_bounds, d.cuts, d.days, p_companies, p_currency, NULL, p_with_invoices
            ) AS p
        ) AS s
    ),
    -- As analytics_local_date, which would be asked for each of them.
    date_end AS MATERIALIZED (
        SELECT d.clock_date, analytics_local_start(d.clock_date + 1, p_zone) AS instant
        FROM (SELECT DISTINCT p.clock_date FROM piece AS p) AS d
    )
    SELECT
        p.company_id, p.currency,
        CASE WHEN p.currency IS DISTINCT FROM p_currency
             THEN p.clock_date + (p.instant >= e.instant)::integer END,
        p.stretch, p.revenue, p.refunds, p.transactions, p.invoiced
    FROM piece AS p
    JOIN date_end AS e ON e.clock_date = p.clock_date
$$;

COMMENT ON FUNCTION analytics_local_revenue_pieces IS
    'Revenue, its refunds (negative or null), transactions and what was invoiced: parts of a date of a time zone, to be summed; null: of any date, in the currency that is reported in.';

CREATE OR REPLACE FUNCTION analytics_revenue_by_currency(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (currency text, revenue numeric, refunds numeric, transactions bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT d.currency, sum(d.revenue), -coalesce(sum(d.refunds), 0), sum(d.transactions)::bigint
    FROM analytics_revenue_pieces(
        ARRAY[p_start, p_end], ARRAY[p_start, p_end], tstzmultirange(tstzrange(p_start, p_end)),
        CASE WHEN p_company IS NOT NULL THEN ARRAY[p_company] END, NULL, NULL, false
    ) AS d
    WHERE d.currency IS NOT NULL AND d.transactions > 0
      AND (p_company IS NOT NULL OR d.company_id <> ALL ((SELECT analytics_test_companies())::text[]))
    GROUP BY d.currency
    ORDER BY d.currency
$$;

COMMENT ON FUNCTION analytics_revenue_by_currency IS
    'Revenue, refunds (positive) and number of transactions of any period, per original currency.';

-- An amount whose day has no rate is in original, and in none of the converted columns; nothing is nothing at
-- any rate. The date of amounts in the currency that all periods are reported in is null, unless dates are asked for.
CREATE OR REPLACE FUNCTION analytics_converted_revenue(
    p_periods analytics_figure_period[], p_by_date boolean DEFAULT false, p_with_invoices boolean DEFAULT true
)
RETURNS TABLE (
    place bigint, company_id text, figure text, currency text, day date, original numeric, converted numeric,
    refunds numeric, refunded numeric, transactions bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    calendars bigint := CASE
        WHEN NOT EXISTS (SELECT FROM unnest(p_periods) AS p WHERE p.time_zone <> 'UTC') THEN 1
        ELSE (
            SELECT count(*)
            FROM (
                SELECT DISTINCT coalesce(w.time_zone, 'UTC'), CASE WHEN w.time_zone <> 'UTC' THEN w.currency END
                FROM unnest(p_periods) AS w
            ) AS c
        )
    END;
    calendar record;
    zone text := coalesce(p_periods[1].time_zone, 'UTC');
    bounds timestamptz[];
    wanted tstzmultirange;
    companies text[];
    test_companies text[];
    -- Amounts in the currency that all periods are reported in need no rate, and so no date.
    dateless text := (
        SELECT CASE WHEN NOT p_by_date AND min(w.currency) = max(w.currency) THEN min(w.currency) END
        FROM unnest(p_periods) AS w
    );
BEGIN
    -- What has to be cut where depends on the zone, and on the currency.
    IF calendars > 1 THEN
        FOR calendar IN
            SELECT
                array_agg(w.place ORDER BY w.place) AS places,
                array_agg(
                    ROW(w.company_id, w.period_start, w.period_end, w.currency, w.time_zone)::analytics_figure_period
                    ORDER BY w.place
                ) AS periods
            FROM unnest(p_periods) WITH ORDINALITY AS w (
                company_id, period_start, period_end, currency, time_zone, place
            )
            GROUP BY coalesce(w.time_zone, 'UTC'), CASE WHEN w.time_zone <> 'UTC' THEN w.currency END
        LOOP
            RETURN QUERY
            SELECT
                calendar.places[r.place], r.company_id, r.figure, r.currency, r.day, r.original, r.converted,
                r.refunds, r.refunded, r.transactions
            FROM analytics_converted_revenue(calendar.periods, p_by_date, p_with_invoices) AS r;
        END LOOP;
        RETURN;
    END IF;
    bounds := analytics_period_bounds(p_periods);
    wanted := (
        SELECT coalesce(range_agg(tstzrange(w.period_start, w.period_end)), '{}') FROM unnest(p_periods) AS w
    );
    companies := analytics_period_companies(p_periods);
    test_companies := analytics_test_companies();
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            w.place, w.company_id, w.currency,
            generate_series(
                width_bucket(w.period_start, bounds), width_bucket(w.period_end, bounds) - 1
            ) AS stretch
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    ),
    piece AS MATERIALIZED (
        SELECT
            p.company_id, p.currency, CASE WHEN p.currency IS DISTINCT FROM dateless THEN analytics_date(p.instant) END AS day,
            p.stretch, p.revenue, p.refunds, p.transactions, p.invoiced
        FROM analytics_revenue_pieces(bounds, bounds, wanted, companies, NULL, dateless, p_with_invoices) AS p
        WHERE zone = 'UTC' AND p.currency IS NOT NULL
        UNION ALL
        SELECT p.*
        FROM analytics_local_revenue_pieces(bounds, wanted, companies, dateless, zone, p_with_invoices) AS p
        WHERE zone <> 'UTC' AND p.currency IS NOT NULL
    ),
    part AS (
        SELECT
            a.place, p.company_id, p.currency, a.currency AS target, p.day,
            p.revenue, p.refunds, p.transactions, p.invoiced
        FROM piece AS p
        JOIN asked AS a ON a.company_id = p.company_id AND a.stretch = p.stretch
        UNION ALL
        SELECT
            a.place, p.company_id, p.currency, a.currency, p.day,
            p.revenue, p.refunds, p.transactions, p.invoiced
        FROM piece AS p
        JOIN asked AS a ON a.stretch = p.stretch
        WHERE a.company_id IS NULL AND p.company_id <> ALL (test_companies)
    ),
    amount AS MATERIALIZED (
        SELECT
            p.place, p.company_id, p.currency, p.target, p.day,
            sum(p.revenue) AS revenue, coalesce(sum(p.refunds), 0) AS refunds,
            sum(p.transactions)::bigint AS transactions, sum(p.invoiced) AS invoiced
        FROM part AS p
        GROUP BY p.place, p.company_id, p.currency, p.target, p.day
    ),
    rate AS MATERIALIZED (
        SELECT fx.*
        FROM (
            SELECT array_agg(k.currency) AS currencies, array_agg(k.target) AS targets, array_agg(k.day) AS days
            FROM (SELECT DISTINCT a.currency, a.target, a.day FROM amount AS a WHERE a.currency <> a.target) AS k
        ) AS n
        CROSS JOIN LATERAL analytics_fx_rates_of_days(n.currencies, n.targets, n.days) AS fx
    )
    SELECT
        a.place, a.company_id, f.figure, a.currency, a.day, f.original,
        CASE
            WHEN a.currency = a.target OR (f.original = 0 AND f.refunds = 0) THEN f.original
            ELSE analytics_fraction(f.original, r.numerator, r.denominator)
        END,
        f.refunds,
        CASE
            WHEN a.currency = a.target OR f.refunds = 0 THEN f.refunds
            ELSE analytics_fraction(f.refunds, r.numerator, r.denominator)
        END,
        f.transactions
    FROM amount AS a
    LEFT JOIN rate AS r ON r.currency = a.currency AND r.target = a.target AND r.day = a.day
    CROSS JOIN LATERAL (
        VALUES ('totalRevenue', a.revenue, a.refunds, a.transactions), ('invoiced', a.invoiced, 0, 0)
    ) AS f (figure, original, refunds, transactions)
    WHERE f.original IS NOT NULL;
END
$$;

COMMENT ON FUNCTION analytics_converted_revenue IS
    'totalRevenue, with its refunds (original and converted, negative or 0), and (unless only revenue is asked for) invoiced of each period per company, original currency and day, each at the rate of its own day.';
