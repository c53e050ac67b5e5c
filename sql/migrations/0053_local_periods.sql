-- A period is of the dates of a time zone: "month", "the period before" and "the year before" are meant in it, and rates
-- are those of its dates. Null: UTC.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = (SELECT t.typrelid FROM pg_type AS t WHERE t.oid = 'analytics_figure_period'::regtype)
          AND a.attname = 'time_zone' AND NOT a.attisdropped
    ) THEN
        ALTER TYPE analytics_figure_period ADD ATTRIBUTE time_zone text;
    END IF;
END
$$;

COMMENT ON TYPE analytics_figure_period IS
    'A company (null: all of them together), a half-open period of instants, the currency to report in, and the time zone of its dates (null: UTC).';

-- What takes the time zone as well, now.
DROP FUNCTION IF EXISTS analytics_previous_start(timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_year_before(timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_balance_date(timestamptz, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_figure_periods(text[], timestamptz[], timestamptz[], text);
DROP FUNCTION IF EXISTS analytics_periods(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_derived_mrr(
    timestamptz, timestamptz, numeric, numeric, numeric, numeric, numeric, numeric, jsonb, numeric, bigint, bigint,
    bigint, numeric, numeric, numeric, numeric, numeric
);
DROP FUNCTION IF EXISTS analytics_activity_is_kept(timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_activity_is_kept(timestamptz, timestamptz, timestamptz, tstzmultirange);
DROP FUNCTION IF EXISTS analytics_revenue_pieces(timestamptz[], tstzmultirange, text[]);
DROP FUNCTION IF EXISTS analytics_converted_revenue(analytics_figure_period[]);
DROP FUNCTION IF EXISTS analytics_spans(tstzmultirange);
DROP FUNCTION IF EXISTS analytics_crypto_volumes(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_crypto_assets(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_crypto_shown(text, text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_active_slots(text[], timestamptz[], tstzmultirange, tstzmultirange);
