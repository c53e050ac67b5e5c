-- What a figure is asked for: many of them at once, each with its own company, period and currency.
DO $$
BEGIN
    IF to_regtype('analytics_figure_period') IS NULL THEN
        CREATE TYPE analytics_figure_period AS (
            company_id   text,
            period_start timestamptz,
            period_end   timestamptz,
            currency     text
        );
    END IF;
END
$$;

COMMENT ON TYPE analytics_figure_period IS
    'A company (null: all of them together), a half-open period of instants, and the currency to report in.';
