-- Rates of exchange: the last rate on or before the date, at most 7 days old; of a currency that has joined the euro its
-- irrevocable rate from the date of joining on.

-- Council Regulations (EC) 2866/98 and those after it for each member. A new member is one more line.
CREATE OR REPLACE FUNCTION analytics_euro_rates()
RETURNS TABLE (currency text, joined_on date, rate numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 21
AS $$
    VALUES
        ('ATS', date '1999-01-01', 13.7603),
        ('BEF', date '1999-01-01', 40.3399),
        ('DEM', date '1999-01-01', 1.95583),
        ('ESP', date '1999-01-01', 166.386),
        ('FIM', date '1999-01-01', 5.94573),
        ('FRF', date '1999-01-01', 6.55957),
        ('IEP', date '1999-01-01', 0.787564),
        ('ITL', date '1999-01-01', 1936.27),
        ('LUF', date '1999-01-01', 40.3399),
        ('NLG', date '1999-01-01', 2.20371),
        ('PTE', date '1999-01-01', 200.482),
        ('GRD', date '2001-01-01', 340.750),
        ('SIT', date '2007-01-01', 239.640),
        ('CYP', date '2008-01-01', 0.585274),
        ('MTL', date '2008-01-01', 0.429300),
        ('SKK', date '2009-01-01', 30.1260),
        ('EEK', date '2011-01-01', 15.6466),
        ('LVL', date '2014-01-01', 0.702804),
        ('LTL', date '2015-01-01', 3.45280),
        ('HRK', date '2023-01-01', 7.53450),
        ('BGN', date '2026-01-01', 1.95583)
$$;

COMMENT ON FUNCTION analytics_euro_rates IS
    'The currencies that have joined the euro, since when, and how many units of each one euro is for ever.';

CREATE OR REPLACE FUNCTION analytics_fx_euro(p_currency text, p_date date)
RETURNS TABLE (currency text, units numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT CASE WHEN max(e.rate) IS NULL THEN p_currency ELSE 'EUR' END, coalesce(max(e.rate), 1)
    FROM analytics_euro_rates() AS e
    WHERE e.currency = p_currency AND e.joined_on <= p_date
$$;

COMMENT ON FUNCTION analytics_fx_euro IS
    'In which currency one is converted on a day: in euros, of which so many units are one, once it has joined; else in itself.';

-- A rate is given as a fraction, so that the inverse of a decimal stays exact.
CREATE OR REPLACE FUNCTION analytics_fx_pair(p_from text, p_to text, p_date date)
RETURNS TABLE (numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT own.numerator, own.denominator, own.rate_date
    FROM (
        SELECT e.rate AS numerator, 1::numeric AS denominator, p_date AS rate_date, 0 AS direction
        FROM analytics_euro_rates() AS e
        WHERE p_from = 'EUR' AND e.currency = p_to AND e.joined_on <= p_date
        UNION ALL
        SELECT 1, e.rate, p_date, 0
        FROM analytics_euro_rates() AS e
        WHERE p_to = 'EUR' AND e.currency = p_from AND e.joined_on <= p_date
        UNION ALL
        SELECT r.rate, 1, r.rate_date, 1
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
    'The irrevocable rate of a pair, or else its newest rate itself, as quoted or turned round, on a day or up to 7 days before; no row without one.';

CREATE OR REPLACE FUNCTION analytics_fx_rate(p_from text, p_to text, p_date date)
RETURNS TABLE (numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
AS $$
    -- What has joined the euro is converted as euros, whatever other rates there are of it.
    WITH trade AS MATERIALIZED (
        SELECT
            sold.currency AS sold, bought.currency AS bought,
            bought.units AS numerator, sold.units AS denominator
        FROM analytics_fx_euro(p_from, p_date) AS sold
        CROSS JOIN analytics_fx_euro(p_to, p_date) AS bought
    ),
    own AS MATERIALIZED (
        SELECT p.numerator, p.denominator, p.rate_date
        FROM trade AS t
        CROSS JOIN LATERAL analytics_fx_pair(t.sold, t.bought, p_date) AS p
    ),
    found AS (
        SELECT 1::numeric AS numerator, 1::numeric AS denominator, p_date AS rate_date
        FROM trade AS t
        WHERE t.sold = t.bought
        UNION ALL
        SELECT o.numerator, o.denominator, o.rate_date
        FROM own AS o
        CROSS JOIN trade AS t
        WHERE t.sold <> t.bought
        UNION ALL
        -- Each leg has its own newest rate: one of them may be days older than the other.
        (SELECT sold.numerator * bought.numerator, sold.denominator * bought.denominator,
                least(sold.rate_date, bought.rate_date)
         FROM trade AS t
         CROSS JOIN LATERAL analytics_fx_partners(t.sold, p_date) AS k
         CROSS JOIN LATERAL analytics_fx_pair(t.sold, k.currency, p_date) AS sold
         CROSS JOIN LATERAL analytics_fx_pair(k.currency, t.bought, p_date) AS bought
         WHERE t.sold <> t.bought AND NOT EXISTS (SELECT FROM own)
         ORDER BY least(sold.rate_date, bought.rate_date) DESC, k.currency COLLATE "C"
         LIMIT 1)
    )
    SELECT
        CASE WHEN p_from = p_to THEN 1 ELSE f.numerator * t.numerator END,
        CASE WHEN p_from = p_to THEN 1 ELSE f.denominator * t.denominator END,
        f.rate_date
    FROM found AS f
    CROSS JOIN trade AS t
$$;

COMMENT ON FUNCTION analytics_fx_rate IS
    'One unit of p_from costs numerator / denominator of p_to on the day, by the pair''s own rate or through one third currency, members of the euro by their irrevocable rates; no row without a rate.';

-- In plpgsql, which keeps its plan: as a part of the queries that ask for rates it took longer to plan than they take.
CREATE OR REPLACE FUNCTION analytics_fx_rates_of_days(p_from text[], p_to text[], p_days date[])
RETURNS TABLE (currency text, target text, day date, numerator numeric, denominator numeric)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT k.currency, k.target, k.day, fx.numerator, fx.denominator
    FROM unnest(p_from, p_to, p_days) AS k (currency, target, day)
    CROSS JOIN LATERAL analytics_fx_rate(k.currency, k.target, k.day) AS fx;
END
$$;

COMMENT ON FUNCTION analytics_fx_rates_of_days IS
    'The rates of several pairs and days, each as analytics_fx_rate gives it, the arrays side by side; no row of one without a rate.';

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
