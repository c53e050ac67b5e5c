-- Periods: half-open, UTC. Immutable, whatever the session's time zone: so the planner knows the bounds and
-- leaves out the chunks beyond them.

CREATE OR REPLACE FUNCTION analytics_floor(p_unit text, p_instant timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT date_trunc(p_unit, p_instant AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
$$;

COMMENT ON FUNCTION analytics_floor IS
    'The start of the hour, day or month (UTC) that holds an instant.';

CREATE OR REPLACE FUNCTION analytics_ceil(p_unit text, p_instant timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (
        date_trunc(p_unit, p_instant AT TIME ZONE 'UTC' - interval '1 microsecond')
        + CASE p_unit
            WHEN 'hour' THEN interval '1 hour'
            WHEN 'day' THEN interval '1 day'
            WHEN 'month' THEN interval '1 month'
        END
    ) AT TIME ZONE 'UTC'
$$;

COMMENT ON FUNCTION analytics_ceil IS
    'The instant itself if an hour, day or month (UTC) starts there, else the start of the next one.';

CREATE OR REPLACE FUNCTION analytics_date(p_instant timestamptz)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (p_instant AT TIME ZONE 'UTC')::date
$$;

COMMENT ON FUNCTION analytics_date IS
    'The calendar day (UTC) of an instant.';

-- Whole months are compared with as many whole months (so a quarter with the quarter before), any other
-- period with one of the same length.
CREATE OR REPLACE FUNCTION analytics_previous_start(p_start timestamptz, p_end timestamptz)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (
        p_start AT TIME ZONE 'UTC' - CASE
            WHEN p_start = analytics_floor('month', p_start) AND p_end = analytics_floor('month', p_end)
            THEN age(p_end AT TIME ZONE 'UTC', p_start AT TIME ZONE 'UTC')
            ELSE p_end - p_start
        END
    ) AT TIME ZONE 'UTC'
$$;

COMMENT ON FUNCTION analytics_previous_start IS
    'The start of the period before, which ends where this one starts.';

-- Whole months are compared with whole months, other days with those of the same dates: 28 February with the 28th.
CREATE OR REPLACE FUNCTION analytics_year_before(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (period_start timestamptz, period_end timestamptz)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT
        b.bounds[1] AT TIME ZONE 'UTC',
        greatest(b.bounds[2], b.bounds[1] + interval '1 microsecond') AT TIME ZONE 'UTC'
    FROM (
        SELECT ARRAY[
            p_start AT TIME ZONE 'UTC' - interval '1 year',
            CASE
                WHEN p_end = analytics_floor('day', p_end)
                 AND NOT (p_start = analytics_floor('month', p_start) AND p_end = analytics_floor('month', p_end))
                THEN p_end AT TIME ZONE 'UTC' - interval '1 day' - interval '1 year' + interval '1 day'
                ELSE p_end AT TIME ZONE 'UTC' - interval '1 year'
            END
        ] AS bounds
    ) AS b
$$;

COMMENT ON FUNCTION analytics_year_before IS
    'The same calendar period (UTC) a year before.';

CREATE OR REPLACE FUNCTION analytics_as_of(p_start timestamptz, p_end timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_end <= now() THEN p_end
        ELSE greatest(p_start, least(p_end, coalesce(analytics_data_through(), now())))
    END
$$;

COMMENT ON FUNCTION analytics_as_of IS
    'The instant a period is as of: its end or, while it is unfinished, dataThrough, but never before its start.';

-- A balance is converted at the rate of its last instant. That of a period's start is the balance at the end of
-- whatever came before it: ask with -infinity as the start.
CREATE OR REPLACE FUNCTION analytics_balance_date(
    p_start timestamptz, p_end timestamptz, p_data_through timestamptz
)
RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_end <= now() THEN analytics_date(p_end - interval '1 microsecond')
        -- Without an event since the period began, its balance is still that of its start.
        WHEN p_start <= now() THEN greatest(
            analytics_date(coalesce(p_data_through, now())), analytics_date(p_start - interval '1 microsecond')
        )
        ELSE analytics_date(coalesce(p_data_through, now()))
    END
$$;

COMMENT ON FUNCTION analytics_balance_date IS
    'The day (UTC) whose rate converts the balance at a period''s end: of an unfinished period that of dataThrough.';

CREATE OR REPLACE FUNCTION analytics_open_windows(p_relation text, p_until timestamptz)
RETURNS tstzmultirange
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT tstzmultirange(tstzrange(NULL, p_until)) - coalesce(
        (SELECT c.windows FROM analytics_closed_windows AS c WHERE c.relation = p_relation), '{}'
    )
$$;

COMMENT ON FUNCTION analytics_open_windows IS
    'Event time before an instant whose events a table made from them has not taken in.';

-- Many periods at once. Their bounds cut time into stretches that each belong to a period wholly or not at all.
CREATE OR REPLACE FUNCTION analytics_period_bounds(p_periods analytics_figure_period[])
RETURNS timestamptz[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(array_agg(b.bound ORDER BY b.bound), '{}')
    FROM (
        SELECT w.period_start AS bound FROM unnest(p_periods) AS w
        UNION
        SELECT w.period_end FROM unnest(p_periods) AS w
    ) AS b
$$;

COMMENT ON FUNCTION analytics_period_bounds IS
    'The instants at which periods start and end, each once, in order.';

CREATE OR REPLACE FUNCTION analytics_period_companies(p_periods analytics_figure_period[])
RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN bool_and(w.company_id IS NOT NULL) THEN array_agg(DISTINCT w.company_id) END
    FROM unnest(p_periods) AS w
$$;

COMMENT ON FUNCTION analytics_period_companies IS
    'The companies that periods are of; null: all of them.';

CREATE OR REPLACE FUNCTION analytics_split(p_unit text, p_bounds timestamptz[])
RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(range_agg(tstzrange(analytics_floor(p_unit, b), analytics_ceil(p_unit, b))), '{}')
    FROM unnest(p_bounds) AS b
    WHERE analytics_floor(p_unit, b) < b
$$;

COMMENT ON FUNCTION analytics_split IS
    'The hours or days (UTC) within which one of some instants lies.';

-- Each is planned for by itself, so that the chunks outside of it aren't opened; short gaps are not worth that.
CREATE OR REPLACE FUNCTION analytics_spans(p_ranges tstzmultirange)
RETURNS tstzrange[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(
        SELECT tstzrange(lower(s), upper(s) - interval '720 hours')
        FROM unnest((
            SELECT range_agg(tstzrange(lower(r), upper(r) + interval '720 hours')) FROM unnest(p_ranges) AS r
        )) AS s
        ORDER BY lower(s)
    )
$$;

COMMENT ON FUNCTION analytics_spans IS
    'Ranges of time, those less than 30 days apart as one.';

CREATE OR REPLACE FUNCTION analytics_figure_periods(
    p_companies text[], p_starts timestamptz[], p_ends timestamptz[], p_currency text
)
RETURNS analytics_figure_period[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(
        SELECT ROW(w.company_id, w.period_start, w.period_end, p_currency)::analytics_figure_period
        FROM unnest(p_companies, p_starts, p_ends) WITH ORDINALITY AS w (company_id, period_start, period_end, place)
        ORDER BY w.place
    )
$$;

COMMENT ON FUNCTION analytics_figure_periods IS
    'Periods as figures are asked for, in the order of the arrays: companies (null: all), starts, ends; one currency.';
