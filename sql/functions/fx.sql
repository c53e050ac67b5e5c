-- Rates of exchange, DEFINITIONS version 1: the last rate on or before the date, at most 7 days old.

-- A rate is given as a fraction, so that the inverse of a decimal stays exact.
CREATE OR REPLACE FUNCTION analytics_fx_rate(p_from text, p_to text, p_date date)
RETURNS TABLE (numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    -- Of a pair's own rates the newest, as quoted or turned round; only without one through a third currency.
    SELECT f.numerator, f.denominator, f.rate_date
    FROM (
        (SELECT 1 AS preference, 1::numeric AS numerator, 1::numeric AS denominator, p_date AS rate_date
         WHERE p_from = p_to)
        UNION ALL
        (SELECT 2, own.numerator, own.denominator, own.rate_date
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
         LIMIT 1)
        UNION ALL
        (SELECT 3, sold.numerator * bought.denominator, sold.denominator * bought.numerator,
                least(sold.rate_date, bought.rate_date)
         FROM analytics_fx_legs(p_from, p_date) AS sold
         JOIN analytics_fx_legs(p_to, p_date) AS bought USING (via)
         WHERE sold.via NOT IN (p_from, p_to)
         ORDER BY least(sold.rate_date, bought.rate_date) DESC, greatest(sold.rate_date, bought.rate_date), sold.via
         LIMIT 1)
    ) AS f
    ORDER BY f.preference
    LIMIT 1
$$;

COMMENT ON FUNCTION analytics_fx_rate IS
    'One unit of p_from costs numerator / denominator of p_to on the day; no row without a rate.';

CREATE OR REPLACE FUNCTION analytics_fx_legs(p_currency text, p_date date)
RETURNS TABLE (via text, numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.quote, r.rate, 1::numeric, r.rate_date
    FROM analytics_fx_rates AS r
    WHERE r.base = p_currency AND r.rate_date BETWEEN p_date - 7 AND p_date
    UNION ALL
    SELECT r.base, 1::numeric, r.rate, r.rate_date
    FROM analytics_fx_rates AS r
    WHERE r.quote = p_currency AND r.rate_date BETWEEN p_date - 7 AND p_date
$$;

COMMENT ON FUNCTION analytics_fx_legs IS
    'What one unit of a currency costs in any other it is quoted against, on a day or up to 7 days before.';

-- 40 places: sums of fractions stay right in the first 30, and nothing is rounded before that.
CREATE OR REPLACE FUNCTION analytics_fraction(p_amount numeric, p_numerator numeric, p_denominator numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT round(round(p_amount * p_numerator, 45) / p_denominator, 40)
$$;

COMMENT ON FUNCTION analytics_fraction IS
    'p_amount x p_numerator / p_denominator to 40 decimal places.';
