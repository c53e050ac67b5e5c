-- Rates of exchange, DEFINITIONS version 2: the last rate on or before the date, at most 7 days old.

-- A rate is given as a fraction, so that the inverse of a decimal stays exact.
CREATE OR REPLACE FUNCTION analytics_fx_pair(p_from text, p_to text, p_date date)
RETURNS TABLE (numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT own.numerator, own.denominator, own.rate_date
    FROM (
        SELECT r.rate AS numerator, 1::numeric AS denominator, r.rate_date, 1 AS direction
        FROM analytics_fx_rates AS r
        WHERE r.base = p_from AND r.quote = p_to AND r.rate_date BETWEEN p_date - 7 AND p_date
        UNION ALL
        SELECT 1, r.rate, r.rate_date, 2
        FROM analytics_fx_rates AS r
        WHERE r.base = p_to AND r.quote = p_from AND r.rate_date BETWEEN p_date - 7 AND p_date
    ) AS own
    ORDER BY own.rate_date DESC, own.direction
    LIMIT 1
$$;

COMMENT ON FUNCTION analytics_fx_pair IS
    'The newest rate of a pair itself, as quoted or turned round, on a day or up to 7 days before; no row without one.';

CREATE OR REPLACE FUNCTION analytics_fx_rate(p_from text, p_to text, p_date date)
RETURNS TABLE (numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    WITH own AS MATERIALIZED (
        SELECT p.numerator, p.denominator, p.rate_date FROM analytics_fx_pair(p_from, p_to, p_date) AS p
    )
    SELECT 1::numeric, 1::numeric, p_date WHERE p_from = p_to
    UNION ALL
    SELECT o.numerator, o.denominator, o.rate_date FROM own AS o WHERE p_from <> p_to
    UNION ALL
    -- Each leg has its own newest rate: one of them may be days older than the other.
    (SELECT sold.numerator * bought.numerator, sold.denominator * bought.denominator,
            least(sold.rate_date, bought.rate_date)
     FROM analytics_fx_partners(p_from, p_date) AS k
     CROSS JOIN LATERAL analytics_fx_pair(p_from, k.currency, p_date) AS sold
     CROSS JOIN LATERAL analytics_fx_pair(k.currency, p_to, p_date) AS bought
     WHERE p_from <> p_to AND NOT EXISTS (SELECT FROM own)
     ORDER BY least(sold.rate_date, bought.rate_date) DESC, k.currency COLLATE "C"
     LIMIT 1)
$$;

COMMENT ON FUNCTION analytics_fx_rate IS
    'One unit of p_from costs numerator / denominator of p_to on the day, by the pair''s own rate or through one third currency; no row without a rate.';

CREATE OR REPLACE FUNCTION analytics_fx_partners(p_currency text, p_date date)
RETURNS TABLE (currency text)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 10
AS $$
    SELECT r.quote FROM analytics_fx_rates AS r
    WHERE r.base = p_currency AND r.rate_date BETWEEN p_date - 7 AND p_date
    UNION
    SELECT r.base FROM analytics_fx_rates AS r
    WHERE r.quote = p_currency AND r.rate_date BETWEEN p_date - 7 AND p_date
$$;

COMMENT ON FUNCTION analytics_fx_partners IS
    'The currencies with which one has a rate of its own on a day or up to 7 days before.';

-- 40 places: sums of fractions stay right in the first 30, and nothing is rounded before that.
CREATE OR REPLACE FUNCTION analytics_fraction(p_amount numeric, p_numerator numeric, p_denominator numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT round(round(p_amount * p_numerator, 45) / p_denominator, 40)
$$;

COMMENT ON FUNCTION analytics_fraction IS
    'p_amount x p_numerator / p_denominator to 40 decimal places.';
