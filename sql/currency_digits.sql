-- Currencies, crypto assets and their decimal places, as analytics_pipeline/currencies.py knows them: written anew at
-- every migration.
CREATE OR REPLACE FUNCTION analytics_currency_digits(p_currency text)
RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(({digits}::jsonb ->> p_currency)::integer, {ticker_digits})
$$;

COMMENT ON FUNCTION analytics_currency_digits IS
    'The decimal places of a currency, those of ISO 4217, or of a crypto asset: 8.';

CREATE OR REPLACE FUNCTION analytics_is_currency(p_code text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT {digits}::jsonb ? p_code
$$;

COMMENT ON FUNCTION analytics_is_currency IS
    'Whether a code is that of a currency (ISO 4217, former ones included), and not of a crypto asset.';

CREATE OR REPLACE FUNCTION analytics_crypto_code(p_ticker text)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN analytics_is_currency(p_ticker) THEN {crypto_prefix} || p_ticker ELSE p_ticker END
$$;

COMMENT ON FUNCTION analytics_crypto_code IS
    'The code of the crypto asset with a ticker: one of its own where a currency has that code.';

CREATE OR REPLACE FUNCTION analytics_is_asset(p_code text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN starts_with(p_code, {crypto_prefix})
        THEN analytics_is_currency(substr(p_code, length({crypto_prefix}) + 1))
        ELSE p_code ~ {ticker_form} AND (p_code = upper(p_code) OR NOT analytics_is_currency(upper(p_code)))
    END
$$;

COMMENT ON FUNCTION analytics_is_asset IS
    'Whether a text is the code of a currency or of a crypto asset, and not another spelling of one.';
