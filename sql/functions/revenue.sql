-- Revenue: payments received minus refunds, each on its own date (cash basis), and what was invoiced.
-- DEFINITIONS version 2. Periods are half-open; a null company means all companies; amounts of different
-- currencies are never added.

CREATE OR REPLACE FUNCTION analytics_revenue_days(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (
    company_id text, currency text, day date, revenue numeric, refunds numeric, transactions bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whole days from the days, whole hours at the edges from the hours, the rest from the events. Each part
    -- begins with whether there is one, so that no chunk is opened for a part that is empty.
    SELECT d.company_id, d.currency, analytics_date(d.bucket), d.total_value, d.refund_value, d.event_count
    FROM analytics_revenue_daily AS d
    WHERE analytics_ceil('day', p_start) < analytics_floor('day', p_end)
      AND d.bucket >= analytics_ceil('day', p_start) AND d.bucket < analytics_floor('day', p_end)
      AND (p_company IS NULL OR d.company_id = p_company)
    UNION ALL
    SELECT h.company_id, h.currency, analytics_date(h.bucket), h.total_value, h.refund_value, h.event_count
    FROM analytics_revenue_hourly AS h
    WHERE analytics_ceil('hour', p_start) < analytics_floor('hour', least(analytics_ceil('day', p_start), p_end))
      AND h.bucket >= analytics_ceil('hour', p_start)
      AND h.bucket < analytics_floor('hour', least(analytics_ceil('day', p_start), p_end))
      AND (p_company IS NULL OR h.company_id = p_company)
    UNION ALL
    SELECT h.company_id, h.currency, analytics_date(h.bucket), h.total_value, h.refund_value, h.event_count
    FROM analytics_revenue_hourly AS h
    WHERE greatest(analytics_floor('day', p_end), analytics_ceil('day', p_start)) < analytics_floor('hour', p_end)
      AND h.bucket >= greatest(analytics_floor('day', p_end), analytics_ceil('day', p_start))
      AND h.bucket < analytics_floor('hour', p_end)
      AND (p_company IS NULL OR h.company_id = p_company)
    UNION ALL
    SELECT
        e.company_id, e.currency, analytics_date(e."timestamp"), e.value,
        CASE WHEN e.event_type = 'payment.refunded' THEN e.value END, 1
    FROM analytics_events AS e
    WHERE p_start < least(analytics_ceil('hour', p_start), p_end)
      AND e."timestamp" >= p_start AND e."timestamp" < least(analytics_ceil('hour', p_start), p_end)
      AND e.category = 'revenue'
      AND (p_company IS NULL OR e.company_id = p_company)
    UNION ALL
    SELECT
        e.company_id, e.currency, analytics_date(e."timestamp"), e.value,
        CASE WHEN e.event_type = 'payment.refunded' THEN e.value END, 1
    FROM analytics_events AS e
    WHERE greatest(analytics_floor('hour', p_end), analytics_ceil('hour', p_start)) < p_end
      AND e."timestamp" >= greatest(analytics_floor('hour', p_end), analytics_ceil('hour', p_start))
      AND e."timestamp" < p_end
      AND e.category = 'revenue'
      AND (p_company IS NULL OR e.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_revenue_days IS
    'Revenue, its refunds (negative or null) and transactions of any period: parts of a day (UTC), to be summed.';

CREATE OR REPLACE FUNCTION analytics_invoiced_days(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (company_id text, currency text, day date, invoiced numeric)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT d.company_id, d.currency, analytics_date(d.bucket), d.total_value
    FROM analytics_billing_daily AS d
    WHERE analytics_ceil('day', p_start) < analytics_floor('day', p_end)
      AND d.bucket >= analytics_ceil('day', p_start) AND d.bucket < analytics_floor('day', p_end)
      AND (p_company IS NULL OR d.company_id = p_company)
    UNION ALL
    SELECT e.company_id, e.currency, analytics_date(e."timestamp"), e.value
    FROM analytics_events AS e
    WHERE p_start < least(analytics_ceil('day', p_start), p_end)
      AND e."timestamp" >= p_start AND e."timestamp" < least(analytics_ceil('day', p_start), p_end)
      AND e.category = 'billing'
      AND (p_company IS NULL OR e.company_id = p_company)
    UNION ALL
    SELECT e.company_id, e.currency, analytics_date(e."timestamp"), e.value
    FROM analytics_events AS e
    WHERE greatest(analytics_floor('day', p_end), analytics_ceil('day', p_start)) < p_end
      AND e."timestamp" >= greatest(analytics_floor('day', p_end), analytics_ceil('day', p_start))
      AND e."timestamp" < p_end
      AND e.category = 'billing'
      AND (p_company IS NULL OR e.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_invoiced_days IS
    'Invoices minus credit notes, ex tax, of any period: parts of a day (UTC), to be summed.';

CREATE OR REPLACE FUNCTION analytics_revenue_by_currency(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (currency text, revenue numeric, refunds numeric, transactions bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT d.currency, sum(d.revenue), -coalesce(sum(d.refunds), 0), sum(d.transactions)::bigint
    FROM analytics_revenue_days(p_company, p_start, p_end) AS d
    WHERE d.currency IS NOT NULL
    GROUP BY d.currency
    ORDER BY d.currency
$$;

COMMENT ON FUNCTION analytics_revenue_by_currency IS
    'Revenue, refunds (positive) and number of transactions of any period, per original currency.';

CREATE OR REPLACE FUNCTION analytics_revenue_series(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (month timestamptz, currency text, revenue numeric, refunds numeric, transactions bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.bucket, r.currency, sum(r.total_value), -coalesce(sum(r.refund_value), 0), sum(r.event_count)::bigint
    FROM analytics_revenue_monthly AS r
    WHERE r.bucket >= p_start AND r.bucket < p_end
      AND (p_company IS NULL OR r.company_id = p_company)
      AND r.currency IS NOT NULL
    GROUP BY r.bucket, r.currency
    ORDER BY r.bucket, r.currency
$$;

COMMENT ON FUNCTION analytics_revenue_series IS
    'Revenue, refunds (positive) and number of transactions of whole UTC months, per month and original currency.';

-- An amount whose day has no rate is in original, and in none of the converted columns; nothing is nothing at
-- any rate.
CREATE OR REPLACE FUNCTION analytics_converted_revenue(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, figure text, currency text, day date, original numeric, converted numeric,
    refunds numeric, refunded numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH amount AS MATERIALIZED (
        SELECT
            d.company_id, 'totalRevenue' AS figure, d.currency, d.day,
            sum(d.revenue) AS value, coalesce(sum(d.refunds), 0) AS refunds
        FROM analytics_revenue_days(p_company, p_start, p_end) AS d
        WHERE d.currency IS NOT NULL AND d.revenue IS NOT NULL
        GROUP BY d.company_id, d.currency, d.day
        UNION ALL
        SELECT d.company_id, 'invoiced', d.currency, d.day, sum(d.invoiced), 0
        FROM analytics_invoiced_days(p_company, p_start, p_end) AS d
        WHERE d.currency IS NOT NULL AND d.invoiced IS NOT NULL
        GROUP BY d.company_id, d.currency, d.day
    ),
    rate AS MATERIALIZED (
        SELECT k.currency, k.day, fx.numerator, fx.denominator
        FROM (SELECT DISTINCT a.currency, a.day FROM amount AS a) AS k
        CROSS JOIN LATERAL analytics_fx_rate(k.currency, p_currency, k.day) AS fx
    )
    SELECT
        a.company_id, a.figure, a.currency, a.day, a.value,
        CASE WHEN a.value = 0 AND a.refunds = 0 THEN 0
             ELSE analytics_fraction(a.value, r.numerator, r.denominator) END,
        a.refunds,
        CASE WHEN a.refunds = 0 THEN 0 ELSE analytics_fraction(a.refunds, r.numerator, r.denominator) END
    FROM amount AS a
    LEFT JOIN rate AS r ON r.currency = a.currency AND r.day = a.day
$$;

COMMENT ON FUNCTION analytics_converted_revenue IS
    'totalRevenue, with its refunds (original and converted, negative or 0), and invoiced per company, original currency and day, each at the rate of its own day.';
