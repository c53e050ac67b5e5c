-- Calendars: dates of a time zone (IANA) as instants. A date begins at its first instant in the zone and ends where the
-- next one begins, so it has 23, 24, 25 or other numbers of hours, or none where a zone skipped it.

-- One expression, so that it is planned into the query around it: figures ask for it many times.
CREATE OR REPLACE FUNCTION analytics_local_start(p_date date, p_zone text)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_zone = 'UTC' THEN p_date::timestamp AT TIME ZONE 'UTC'
        WHEN (p_date::timestamp AT TIME ZONE p_zone) AT TIME ZONE p_zone <> p_date::timestamp
        THEN analytics_skipped_midnight(p_date, p_zone)
        -- Midnight may come twice: the first one is at the offset of the day before.
        ELSE least(
            p_date::timestamp AT TIME ZONE p_zone,
            CASE
                WHEN (
                    (p_date::timestamp - analytics_offset_before(p_date, p_zone)) AT TIME ZONE 'UTC'
                ) AT TIME ZONE p_zone = p_date::timestamp
                THEN (p_date::timestamp - analytics_offset_before(p_date, p_zone)) AT TIME ZONE 'UTC'
            END
        )
    END
$$;

COMMENT ON FUNCTION analytics_local_start IS
    'The first instant of a calendar date in a time zone; of a date that the zone skipped, that of the next one.';

CREATE OR REPLACE FUNCTION analytics_offset_before(p_date date, p_zone text)
RETURNS interval
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (
        ((p_date::timestamp AT TIME ZONE p_zone) AT TIME ZONE 'UTC' - interval '1 day') AT TIME ZONE 'UTC'
    ) AT TIME ZONE p_zone
        - ((p_date::timestamp AT TIME ZONE p_zone) AT TIME ZONE 'UTC' - interval '1 day')
$$;

COMMENT ON FUNCTION analytics_offset_before IS
    'How far the clocks of a time zone were ahead of UTC 24 hours before a date''s midnight.';

CREATE OR REPLACE FUNCTION analytics_skipped_midnight(p_date date, p_zone text)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT min(t AT TIME ZONE 'UTC')
    FROM generate_series(
        (p_date::timestamp AT TIME ZONE p_zone) AT TIME ZONE 'UTC' - interval '1 day',
        (p_date::timestamp AT TIME ZONE p_zone) AT TIME ZONE 'UTC',
        interval '1 minute'
    ) AS t
    WHERE ((t AT TIME ZONE 'UTC') AT TIME ZONE p_zone)::date >= p_date
$$;

COMMENT ON FUNCTION analytics_skipped_midnight IS
    'The first instant of a date whose midnight a time zone skips: the first one after it.';

CREATE OR REPLACE FUNCTION analytics_local_date(p_instant timestamptz, p_zone text)
RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_zone = 'UTC' THEN (p_instant AT TIME ZONE 'UTC')::date
        -- A clock that is put back over midnight stays in the date that had begun.
        WHEN p_instant >= analytics_local_start((p_instant AT TIME ZONE p_zone)::date + 1, p_zone)
        THEN (p_instant AT TIME ZONE p_zone)::date + 1
        ELSE (p_instant AT TIME ZONE p_zone)::date
    END
$$;

COMMENT ON FUNCTION analytics_local_date IS
    'The calendar date of an instant in a time zone.';

CREATE OR REPLACE FUNCTION analytics_calendars(p_zone text, p_currency text)
RETURNS TABLE (company_id text, time_zone text, currency text, is_test boolean)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT c.company_id, coalesce(c.time_zone, p_zone), coalesce(c.currency, p_currency), c.is_test
    FROM analytics_companies AS c
$$;

COMMENT ON FUNCTION analytics_calendars IS
    'Time zone and reporting currency of the companies that have a row; all others have the platform''s, which is given.';
