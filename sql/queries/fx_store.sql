-- Stores rates that are not there as they are given; tells day and pair of each, and whether there was another.
WITH given AS MATERIALIZED (
    SELECT given.rate_date, given.base, given.quote, given.rate, there.rate IS NOT NULL AS was_there
    FROM jsonb_to_recordset(%(rates)s::jsonb) AS given (rate_date date, base text, quote text, rate numeric)
    LEFT JOIN analytics_fx_rates AS there USING (base, quote, rate_date)
    WHERE there.rate IS DISTINCT FROM given.rate
),
stored AS (
    INSERT INTO analytics_fx_rates (rate_date, base, quote, rate, source)
    SELECT rate_date, base, quote, rate, %(source)s::text FROM given
    ON CONFLICT (base, quote, rate_date)
    DO UPDATE SET rate = EXCLUDED.rate, source = EXCLUDED.source, loaded_at = now()
)
SELECT rate_date, base || '/' || quote, was_there FROM given
