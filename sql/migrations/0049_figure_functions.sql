-- What figures are without for want of a rate, as the functions of figures put it together: many amounts at once.
DO $$
BEGIN
    IF to_regtype('analytics_unconverted_amount') IS NULL THEN
        CREATE TYPE analytics_unconverted_amount AS (
            place     bigint,
            figure    text,
            part      text,
            currency  text,
            amount    numeric,
            first_day date,
            last_day  date
        );
    END IF;
END
$$;

COMMENT ON TYPE analytics_unconverted_amount IS
    'An amount that a figure of the period at this place is without, in its own currency, and its first and last day.';

-- Months come from the functions of figures, like any other periods.
DROP FUNCTION IF EXISTS analytics_user_series(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_revenue_series(text, timestamptz, timestamptz);
