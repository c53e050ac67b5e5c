-- Crypto volumes: quantities in the asset's ticker, and what they were worth.
-- Periods are half-open; a null company means all companies but those marked as test.

CREATE OR REPLACE FUNCTION analytics_crypto_events(p_company text, p_ranges tstzmultirange, p_zone text)
RETURNS TABLE (company_id text, currency text, event_type text, day date, value numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
    part tstzrange;
BEGIN
    FOREACH part IN ARRAY ARRAY(SELECT r FROM unnest(p_ranges) AS r)
    LOOP
        RETURN QUERY
        SELECT e.company_id, e.currency, e.event_type, analytics_date_in(e."timestamp", p_zone), e.value
        FROM analytics_events AS e
        WHERE e."timestamp" >= lower(part) AND e."timestamp" < upper(part)
          AND e.category = 'crypto'
          AND (p_company IS NULL OR e.company_id = p_company)
          AND e.currency IS NOT NULL;
    END LOOP;
END
$$;

COMMENT ON FUNCTION analytics_crypto_events IS
    'The transactions of some ranges of time, each with its date in a time zone (null: UTC); a null company means all.';

CREATE OR REPLACE FUNCTION analytics_crypto_volumes(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text, p_zone text DEFAULT 'UTC',
    p_each boolean DEFAULT false
)
RETURNS TABLE (
    company_id text, ticker text, event_type text, quantity numeric, transactions bigint, converted numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whole days that are stored from the days, everything else from the events: so are the dates of another zone than
    -- UTC.
    WITH asked AS MATERIALIZED (
        SELECT w.span, w.days - analytics_unstored('day', ARRAY['analytics_crypto_daily'], w.days) AS stored_days
        FROM (
            SELECT
                s.span,
                CASE WHEN coalesce(p_zone, 'UTC') = 'UTC'
                     THEN s.span - analytics_split('day', ARRAY[p_start, p_end]) ELSE '{}' END AS days
            FROM (SELECT tstzmultirange(tstzrange(p_start, p_end))) AS s (span)
        ) AS w
    ),
    volume AS MATERIALIZED (
        SELECT
            -- What was recorded before coins had codes of their own is one, and no currency.
            v.company_id, analytics_crypto_code(v.currency) AS ticker, v.event_type, v.day, v.total_value, v.event_count
        FROM (
            SELECT
                d.company_id, d.currency, d.event_type, analytics_date(d.bucket) AS day, d.total_value, d.event_count
            FROM analytics_crypto_daily AS d
            -- No chunk is opened where no day is read whole.
            WHERE coalesce(p_zone, 'UTC') = 'UTC' AND analytics_ceil('day', p_start) < analytics_floor('day', p_end)
              AND d.bucket >= analytics_ceil('day', p_start) AND d.bucket < analytics_floor('day', p_end)
              AND (SELECT a.stored_days FROM asked AS a) @> d.bucket
              AND (p_company IS NULL OR d.company_id = p_company)
              AND d.currency IS NOT NULL
            UNION ALL
            SELECT e.company_id, e.currency, e.event_type, e.day, e.value, 1
            FROM asked AS a
            CROSS JOIN LATERAL analytics_crypto_events(p_company, a.span - a.stored_days, p_zone) AS e
        ) AS v
    ),
    rate AS MATERIALIZED (
        SELECT k.ticker, k.day, fx.numerator, fx.denominator
        FROM (SELECT DISTINCT v.ticker, v.day FROM volume AS v) AS k
        CROSS JOIN LATERAL analytics_fx_rate(k.ticker, p_currency, k.day) AS fx
    )
    SELECT
        v.company_id, v.ticker, v.event_type,
        coalesce(sum(v.total_value), 0), sum(v.event_count)::bigint,
        CASE WHEN bool_and(v.total_value IS NULL OR r.ticker IS NOT NULL)
             THEN coalesce(sum(analytics_fraction(v.total_value, r.numerator, r.denominator)), 0) END
    FROM volume AS v
    LEFT JOIN rate AS r ON r.ticker = v.ticker AND r.day = v.day
    WHERE p_company IS NOT NULL OR p_each OR v.company_id <> ALL ((SELECT analytics_test_companies())::text[])
    GROUP BY v.company_id, v.ticker, v.event_type
$$;

COMMENT ON FUNCTION analytics_crypto_volumes IS
    'Quantities per company, asset and event type of any period, and their value at the rates of the days of a time zone (null: none); each: of every company by itself, those for tests, too.';

CREATE OR REPLACE FUNCTION analytics_crypto_assets(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text, p_zone text DEFAULT 'UTC'
)
RETURNS TABLE (
    ticker text, received numeric, sent numeric, swapped numeric,
    received_value numeric, sent_value numeric, swapped_value numeric, transactions bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        v.ticker,
        coalesce(sum(v.quantity) FILTER (WHERE v.event_type = 'crypto.received'), 0),
        coalesce(sum(v.quantity) FILTER (WHERE v.event_type = 'crypto.sent'), 0),
        coalesce(sum(v.quantity) FILTER (WHERE v.event_type = 'crypto.swapped'), 0),
        CASE WHEN coalesce(bool_and(v.converted IS NOT NULL) FILTER (WHERE v.event_type = 'crypto.received'), true)
             THEN coalesce(sum(v.converted) FILTER (WHERE v.event_type = 'crypto.received'), 0) END,
        CASE WHEN coalesce(bool_and(v.converted IS NOT NULL) FILTER (WHERE v.event_type = 'crypto.sent'), true)
             THEN coalesce(sum(v.converted) FILTER (WHERE v.event_type = 'crypto.sent'), 0) END,
        CASE WHEN coalesce(bool_and(v.converted IS NOT NULL) FILTER (WHERE v.event_type = 'crypto.swapped'), true)
             THEN coalesce(sum(v.converted) FILTER (WHERE v.event_type = 'crypto.swapped'), 0) END,
        sum(v.transactions)::bigint
    FROM analytics_crypto_volumes(p_company, p_start, p_end, p_currency, p_zone) AS v
    WHERE v.event_type IN ('crypto.received', 'crypto.sent', 'crypto.swapped')
    GROUP BY v.ticker
    ORDER BY v.ticker
$$;

COMMENT ON FUNCTION analytics_crypto_assets IS
    'What was received, sent and swapped of each asset in any period, and its value in the reporting currency at the rates '
    'of the days; a value is null while one of its days lacks a rate.';
