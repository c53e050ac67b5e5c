-- Crypto volumes: quantities in the asset's ticker, and what they were worth.
-- Periods are whole UTC days, half-open; a null company means all companies.

CREATE OR REPLACE FUNCTION analytics_crypto_volumes(
    p_company text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS TABLE (
    company_id text, ticker text, event_type text, quantity numeric, transactions bigint, converted numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH volume AS MATERIALIZED (
        SELECT
            -- What was recorded before coins had codes of their own is one, and no currency.
            d.company_id, analytics_crypto_code(d.currency) AS ticker, d.event_type, analytics_date(d.bucket) AS day,
            d.total_value, d.event_count
        FROM analytics_crypto_daily AS d
        WHERE d.bucket >= p_start AND d.bucket < p_end
          AND (p_company IS NULL OR d.company_id = p_company)
          AND d.currency IS NOT NULL
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
    GROUP BY v.company_id, v.ticker, v.event_type
$$;

COMMENT ON FUNCTION analytics_crypto_volumes IS
    'Quantities per company, asset and event type over whole days, and their value at the rates of the days (null: none).';
