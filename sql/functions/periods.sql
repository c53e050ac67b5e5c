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
CREATE OR REPLACE FUNCTION analytics_balance_date(p_start timestamptz, p_end timestamptz)
RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_end <= now() THEN analytics_date(p_end - interval '1 microsecond')
        -- Without an event since the period began, its balance is still that of its start.
        WHEN p_start <= now() THEN greatest(
            analytics_date(coalesce(analytics_data_through(), now())),
            analytics_date(p_start - interval '1 microsecond')
        )
        ELSE analytics_date(coalesce(analytics_data_through(), now()))
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
