-- Calendars: dates of a time zone (IANA) as instants. A date begins at its first instant in the zone and ends where the
-- next one begins, so it has 23, 24, 25 or other numbers of hours, or none where a zone skipped it.

CREATE OR REPLACE FUNCTION analytics_local_start(p_date date, p_zone text)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN p_zone = 'UTC' THEN m.midnight
        -- Midnight is skipped: the first instant after it.
        WHEN m.midnight AT TIME ZONE p_zone <> p_date::timestamp THEN (
            SELECT min(t)
            FROM generate_series(m.midnight - interval '1 day', m.midnight, interval '1 minute') AS t
            WHERE (t AT TIME ZONE p_zone)::date >= p_date
        )
        -- Midnight comes twice: the first one, at the offset of the day before.
        WHEN m.first_midnight AT TIME ZONE p_zone = p_date::timestamp THEN least(m.first_midnight, m.midnight)
        ELSE m.midnight
    END
    FROM (
        SELECT
            p_date::timestamp AT TIME ZONE p_zone AS midnight,
            (
                p_date::timestamp
                - (
                    (b.day_before AT TIME ZONE p_zone) - (b.day_before AT TIME ZONE 'UTC')
                )
            ) AT TIME ZONE 'UTC' AS first_midnight
        FROM (SELECT (p_date::timestamp AT TIME ZONE p_zone) - interval '1 day' AS day_before) AS b
    ) AS m
$$;

COMMENT ON FUNCTION analytics_local_start IS
    'The first instant of a calendar date in a time zone.';

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
