-- The decimal places of currencies, as analytics_pipeline/currencies.py knows them: written anew at every migration.
CREATE OR REPLACE FUNCTION analytics_currency_digits(p_currency text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(({digits}::jsonb ->> p_currency)::integer, {ticker_digits})
$$;

COMMENT ON FUNCTION analytics_currency_digits IS
    'The decimal places of a currency: those of ISO 4217, and 8 for any other ticker.';
