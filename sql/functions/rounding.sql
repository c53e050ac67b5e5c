-- How a figure is shown: its exact value rounded once. Nothing else rounds; the tables hold exact values.

-- numeric's own round() takes a tie away from zero. Half of a tie is no tie: it is rounded to the nearer half of an
-- even number.
CREATE OR REPLACE FUNCTION analytics_round_half_even(p_value numeric, p_places integer)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_value <> round(p_value, p_places)
         AND p_value - trunc(p_value, p_places) = round(p_value, p_places) - p_value
        THEN 2 * round(0.5 * p_value, p_places)
        ELSE round(p_value, p_places)
    END
$$;

COMMENT ON FUNCTION analytics_round_half_even IS
    'A value rounded to so many decimal places, a tie to the even digit.';

-- Amounts have at most 18 decimals. What stands beyond the 30th is the residue of a division, which keeps 40: three
-- thirds are one again.
CREATE OR REPLACE FUNCTION analytics_round_shown(p_value numeric, p_places integer)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT analytics_round_half_even(analytics_round_half_even(p_value, 30), p_places)
$$;

COMMENT ON FUNCTION analytics_round_shown IS
    'An exact figure as it is shown with so many decimal places, half-even, without the residue of divisions.';

CREATE OR REPLACE FUNCTION analytics_round_money(p_amount numeric, p_currency text)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT analytics_round_shown(p_amount, analytics_currency_digits(p_currency))
$$;

COMMENT ON FUNCTION analytics_round_money IS
    'An exact amount rounded once, half-even, to the digits of its currency (ISO 4217; 8 for any other ticker).';

CREATE OR REPLACE FUNCTION analytics_round_rate(p_rate numeric, p_places integer DEFAULT 1)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT analytics_round_shown(p_rate, p_places)
$$;

COMMENT ON FUNCTION analytics_round_rate IS
    'An exact rate in per cent rounded once, half-even, to one decimal place, or to as many as are asked for.';

CREATE OR REPLACE FUNCTION analytics_round_unconverted(p_unconverted jsonb)
RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        jsonb_agg(
            u.entry || jsonb_build_object(
                'amount', analytics_round_money((u.entry ->> 'amount')::numeric, u.entry ->> 'currency')
            )
            ORDER BY u.place
        ),
        '[]'
    )
    FROM jsonb_array_elements(p_unconverted) WITH ORDINALITY AS u (entry, place)
$$;

COMMENT ON FUNCTION analytics_round_unconverted IS
    'The list of a metric table''s column unconverted, each amount rounded in its own currency.';
