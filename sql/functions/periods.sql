-- Periods: half-open instants. Immutable, whatever the session's time zone: so the planner knows the bounds and
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

-- Of a time zone, as analytics_local_date; a null zone is UTC.
CREATE OR REPLACE FUNCTION analytics_date_in(p_instant timestamptz, p_zone text)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN coalesce(p_zone, 'UTC') = 'UTC' THEN analytics_date(p_instant)
        ELSE analytics_local_date(p_instant, p_zone)
    END
$$;

COMMENT ON FUNCTION analytics_date_in IS
    'The calendar date of an instant in a time zone (null: UTC).';

-- Days and months of a time zone are those of its calendar; a null zone is UTC, which is computed with as it is.
CREATE OR REPLACE FUNCTION analytics_local_floor(p_unit text, p_instant timestamptz, p_zone text)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    IF coalesce(p_zone, 'UTC') = 'UTC' THEN
        RETURN analytics_floor(p_unit, p_instant);
    END IF;
    RETURN analytics_local_start(
        date_trunc(p_unit, analytics_local_date(p_instant, p_zone)::timestamp)::date, p_zone
    );
END
$$;

COMMENT ON FUNCTION analytics_local_floor IS
    'The start of the day or month of a time zone (null: UTC) that holds an instant.';

CREATE OR REPLACE FUNCTION analytics_local_ceil(p_unit text, p_instant timestamptz, p_zone text)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
BEGIN
    IF coalesce(p_zone, 'UTC') = 'UTC' THEN
        RETURN analytics_ceil(p_unit, p_instant);
    ELSIF analytics_local_floor(p_unit, p_instant, p_zone) = p_instant THEN
        RETURN p_instant;
    END IF;
    RETURN analytics_local_start(
        (
            date_trunc(p_unit, analytics_local_date(p_instant, p_zone)::timestamp)
            + CASE p_unit WHEN 'day' THEN interval '1 day' WHEN 'month' THEN interval '1 month' END
        )::date,
        p_zone
    );
END
$$;

COMMENT ON FUNCTION analytics_local_ceil IS
    'The instant itself if a day or month of a time zone (null: UTC) starts there, else the start of the next one.';

CREATE OR REPLACE FUNCTION analytics_whole_months(p_start timestamptz, p_end timestamptz, p_zone text)
RETURNS tstzmultirange
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    first_month timestamptz := analytics_local_ceil('month', p_start, p_zone);
    month_end timestamptz := analytics_local_floor('month', p_end, p_zone);
BEGIN
    RETURN CASE WHEN first_month < month_end THEN tstzmultirange(tstzrange(first_month, month_end)) ELSE '{}' END;
END
$$;

COMMENT ON FUNCTION analytics_whole_months IS
    'The whole months of a time zone in a half-open period.';

CREATE OR REPLACE FUNCTION analytics_local_cuts(p_ranges tstzmultirange, p_zone text)
RETURNS timestamptz[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(
        SELECT DISTINCT analytics_local_start(d.first_date + n, p_zone)
        FROM (
            SELECT
                analytics_local_date(lower(r), p_zone) AS first_date, analytics_local_date(upper(r), p_zone) AS last_date
            FROM unnest(p_ranges) AS r
        ) AS d
        CROSS JOIN LATERAL generate_series(0, d.last_date - d.first_date) AS n
    )
$$;

COMMENT ON FUNCTION analytics_local_cuts IS
    'The instants at which the dates of a time zone begin that some ranges of time touch.';

-- Dates that the zone skipped have no instant, and are no periods. Hours are counted from the start of their date.
CREATE OR REPLACE FUNCTION analytics_local_periods(p_granularity text, p_first date, p_until date, p_zone text)
RETURNS TABLE (period_date date, period_start timestamptz, period_end timestamptz)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        d.period_date, coalesce(h.hour_start, d.period_start),
        least(h.hour_start + interval '1 hour', d.period_end)
    FROM (
        SELECT
            s::date AS period_date, analytics_local_start(s::date, p_zone) AS period_start,
            analytics_local_start((s + w.width)::date, p_zone) AS period_end
        FROM (
            SELECT CASE p_granularity
                WHEN 'year' THEN interval '1 year' WHEN 'month' THEN interval '1 month' ELSE interval '1 day'
            END AS width
        ) AS w
        CROSS JOIN LATERAL generate_series(p_first::timestamp, p_until::timestamp - interval '1 day', w.width) AS s
    ) AS d
    LEFT JOIN LATERAL generate_series(
        d.period_start, d.period_end - interval '1 microsecond', interval '1 hour'
    ) AS h (hour_start) ON p_granularity = 'hour'
    WHERE d.period_start < d.period_end
$$;

COMMENT ON FUNCTION analytics_local_periods IS
    'The hours, days, months or years of a time zone from a date on up to, not including, another, each with its date.';

CREATE OR REPLACE FUNCTION analytics_periods(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_zone text DEFAULT 'UTC'
)
RETURNS TABLE (period_start timestamptz, period_end timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT s AT TIME ZONE 'UTC', (s + ('1 ' || p_granularity)::interval) AT TIME ZONE 'UTC'
    FROM generate_series(
        p_start AT TIME ZONE 'UTC',
        p_end AT TIME ZONE 'UTC' - interval '1 microsecond',
        ('1 ' || p_granularity)::interval
    ) AS s
    WHERE coalesce(p_zone, 'UTC') = 'UTC'
    UNION ALL
    SELECT l.period_start, l.period_end
    FROM analytics_local_periods(
        p_granularity, analytics_local_date(p_start, p_zone), analytics_local_date(p_end, p_zone), p_zone
    ) AS l
    WHERE p_zone <> 'UTC'
$$;

COMMENT ON FUNCTION analytics_periods IS
    'The hours, days or months of a time zone (null: UTC) in a window that starts and ends on their boundaries.';

-- Whole months are compared with as many whole months (so a quarter with the quarter before), any other period with one
-- of the same length: of as many dates where it is made of dates.
CREATE OR REPLACE FUNCTION analytics_previous_start(
    p_start timestamptz, p_end timestamptz, p_zone text DEFAULT 'UTC'
)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN coalesce(p_zone, 'UTC') <> 'UTC' THEN analytics_previous_local_start(p_start, p_end, p_zone)
        ELSE (
            p_start AT TIME ZONE 'UTC' - CASE
                WHEN p_start = analytics_floor('month', p_start) AND p_end = analytics_floor('month', p_end)
                THEN age(p_end AT TIME ZONE 'UTC', p_start AT TIME ZONE 'UTC')
                ELSE p_end - p_start
            END
        ) AT TIME ZONE 'UTC'
    END
$$;

COMMENT ON FUNCTION analytics_previous_start IS
    'The start of the period before, which ends where this one starts; months and days are those of the time zone.';

CREATE OR REPLACE FUNCTION analytics_previous_local_start(p_start timestamptz, p_end timestamptz, p_zone text)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    first_date date := analytics_local_date(p_start, p_zone);
    end_date date := analytics_local_date(p_end, p_zone);
    days integer;
    date_before date;
BEGIN
    IF analytics_local_start(first_date, p_zone) <> p_start OR analytics_local_start(end_date, p_zone) <> p_end THEN
        RETURN p_start - (p_end - p_start);
    END IF;
    IF extract(day FROM first_date) = 1 AND extract(day FROM end_date) = 1 THEN
        RETURN analytics_local_start((first_date - age(end_date, first_date))::date, p_zone);
    END IF;
    -- A date that the zone skipped is none, neither of the period nor to compare with: it adds no hours.
    days := least(end_date - first_date, round(extract(epoch FROM p_end - p_start) / 86400));
    date_before := first_date - days;
    RETURN analytics_local_start(
        date_before - greatest(
            days - round(extract(epoch FROM p_start - analytics_local_start(date_before, p_zone)) / 86400)::integer, 0
        ),
        p_zone
    );
END
$$;

COMMENT ON FUNCTION analytics_previous_local_start IS
    'The start of the period before, in a time zone other than UTC.';

-- Whole months are compared with whole months, other days with those of the same dates: 28 February with the 28th.
CREATE OR REPLACE FUNCTION analytics_year_before(
    p_start timestamptz, p_end timestamptz, p_zone text DEFAULT 'UTC'
)
RETURNS TABLE (period_start timestamptz, period_end timestamptz)
LANGUAGE sql IMMUTABLE PARALLEL SAFE ROWS 1
AS $$
    SELECT b.bounds[1], greatest(b.bounds[2], b.bounds[1] + interval '1 microsecond')
    FROM (
        SELECT CASE
            WHEN coalesce(p_zone, 'UTC') <> 'UTC' THEN analytics_local_year_before(p_start, p_end, p_zone)
            ELSE ARRAY[
                (p_start AT TIME ZONE 'UTC' - interval '1 year') AT TIME ZONE 'UTC',
                CASE
                    WHEN p_end = analytics_floor('day', p_end)
                     AND NOT (p_start = analytics_floor('month', p_start) AND p_end = analytics_floor('month', p_end))
                    THEN (p_end AT TIME ZONE 'UTC' - interval '1 day' - interval '1 year' + interval '1 day')
                        AT TIME ZONE 'UTC'
                    ELSE (p_end AT TIME ZONE 'UTC' - interval '1 year') AT TIME ZONE 'UTC'
                END
            ]
        END AS bounds
    ) AS b
$$;

COMMENT ON FUNCTION analytics_year_before IS
    'The same calendar period of a time zone (null: UTC) a year before.';

CREATE OR REPLACE FUNCTION analytics_local_year_before(p_start timestamptz, p_end timestamptz, p_zone text)
RETURNS timestamptz[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    first_date date := analytics_local_date(p_start, p_zone);
    end_date date := analytics_local_date(p_end, p_zone);
BEGIN
    RETURN ARRAY[
        CASE
            WHEN analytics_local_start(first_date, p_zone) = p_start
            THEN analytics_local_start((first_date - interval '1 year')::date, p_zone)
            ELSE (p_start AT TIME ZONE p_zone - interval '1 year') AT TIME ZONE p_zone
        END,
        CASE
            WHEN analytics_local_start(end_date, p_zone) <> p_end
            THEN (p_end AT TIME ZONE p_zone - interval '1 year') AT TIME ZONE p_zone
            WHEN extract(day FROM first_date) = 1 AND extract(day FROM end_date) = 1
            THEN analytics_local_start((end_date - interval '1 year')::date, p_zone)
            ELSE analytics_local_start((end_date - 1 - interval '1 year')::date + 1, p_zone)
        END
    ];
END
$$;

COMMENT ON FUNCTION analytics_local_year_before IS
    'The start and the end of the same calendar period a year before, in a time zone other than UTC.';

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
    p_start timestamptz, p_end timestamptz, p_data_through timestamptz, p_zone text DEFAULT 'UTC'
)
RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT analytics_date_in(
        CASE
            WHEN p_end <= now() THEN p_end - interval '1 microsecond'
            -- Without an event since the period began, its balance is still that of its start.
            WHEN p_start <= now() THEN greatest(coalesce(p_data_through, now()), p_start - interval '1 microsecond')
            ELSE coalesce(p_data_through, now())
        END,
        p_zone
    )
$$;

COMMENT ON FUNCTION analytics_balance_date IS
    'The date of a time zone (null: UTC) whose rate converts the balance at a period''s end: of an unfinished period that of dataThrough.';

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
    SELECT CASE
        WHEN NOT EXISTS (SELECT FROM unnest(p_periods) AS w WHERE w.company_id IS NULL)
        THEN nullif(ARRAY(SELECT DISTINCT w.company_id FROM unnest(p_periods) AS w), '{}')
    END
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

CREATE OR REPLACE FUNCTION analytics_is_inside_month(p_start timestamptz, p_end timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT analytics_floor('month', p_start) < p_start
       AND analytics_floor('month', p_end) = analytics_floor('month', p_start)
$$;

COMMENT ON FUNCTION analytics_is_inside_month IS
    'Whether a half-open period begins after a month of UTC does and ends before that same month does.';

-- Each is planned for by itself, so that the chunks outside of it aren't opened; short gaps are not worth that.
CREATE OR REPLACE FUNCTION analytics_spans(p_ranges tstzmultirange, p_gap interval DEFAULT '720 hours')
RETURNS tstzrange[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(
        SELECT tstzrange(lower(s), upper(s) - p_gap)
        FROM unnest((
            SELECT range_agg(tstzrange(lower(r), upper(r) + p_gap)) FROM unnest(p_ranges) AS r
        )) AS s
        ORDER BY lower(s)
    )
$$;

COMMENT ON FUNCTION analytics_spans IS
    'Ranges of time, those less than a gap (30 days) apart as one.';

CREATE OR REPLACE FUNCTION analytics_figure_periods(
    p_companies text[], p_starts timestamptz[], p_ends timestamptz[], p_currency text, p_zones text[] DEFAULT NULL
)
RETURNS analytics_figure_period[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(
        SELECT ROW(w.company_id, w.period_start, w.period_end, p_currency, w.time_zone)::analytics_figure_period
        FROM unnest(p_companies, p_starts, p_ends, p_zones) WITH ORDINALITY AS w (
            company_id, period_start, period_end, time_zone, place
        )
        ORDER BY w.place
    )
$$;

COMMENT ON FUNCTION analytics_figure_periods IS
    'Periods as figures are asked for, in the order of the arrays: companies (null: all), starts, ends, time zones of their dates (null: UTC); one currency.';
