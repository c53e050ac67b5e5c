-- Calendars: dates of a time zone (IANA) as instants. A date begins at its first instant in the zone and ends where the
-- next one begins, so it has 23, 24, 25 or other numbers of hours, or none where a zone skipped it.

-- In plpgsql, which keeps its plans: as SQL they would be planned anew in each query, which takes longer than they do.
CREATE OR REPLACE FUNCTION analytics_local_start(p_date date, p_zone text)
RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    midnight timestamp := p_date::timestamp;
    found_at timestamptz := midnight AT TIME ZONE p_zone;
    day_before timestamp;
    first_midnight timestamptz;
BEGIN
    IF p_zone = 'UTC' THEN
        RETURN found_at;
    END IF;
    day_before := found_at AT TIME ZONE 'UTC' - interval '1 day';
    IF found_at AT TIME ZONE p_zone <> midnight THEN
        -- Midnight is skipped: the first instant after it.
        RETURN (
            SELECT min(t AT TIME ZONE 'UTC')
            FROM generate_series(day_before, day_before + interval '1 day', interval '1 minute') AS t
            WHERE ((t AT TIME ZONE 'UTC') AT TIME ZONE p_zone)::date >= p_date
        );
    END IF;
    -- Midnight may come twice: the first one is at the offset of the day before.
    first_midnight := (midnight - ((day_before AT TIME ZONE 'UTC') AT TIME ZONE p_zone - day_before)) AT TIME ZONE 'UTC';
    IF first_midnight < found_at AND first_midnight AT TIME ZONE p_zone = midnight THEN
        RETURN first_midnight;
    END IF;
    RETURN found_at;
END
$$;

COMMENT ON FUNCTION analytics_local_start IS
    'The first instant of a calendar date in a time zone; of a date that the zone skipped, that of the next one.';

CREATE OR REPLACE FUNCTION analytics_local_date(p_instant timestamptz, p_zone text)
RETURNS date
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $$
DECLARE
    clock_date date := (p_instant AT TIME ZONE p_zone)::date;
BEGIN
    -- A clock that is put back over midnight stays in the date that had begun.
    IF p_zone <> 'UTC' AND p_instant >= analytics_local_start(clock_date + 1, p_zone) THEN
        RETURN clock_date + 1;
    END IF;
    RETURN clock_date;
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
