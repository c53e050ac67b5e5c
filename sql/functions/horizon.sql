-- Which events have expired, and what is known of that time all the same.

-- The program looks for lost events in every aggregate and remembers what it finds (timescale/refresh.py); here the
-- users who were first seen are enough, for whoever asks before it has looked. In plpgsql, which keeps the plan: as an
-- SQL function it was planned anew for each period of a query, which took most of the time that users' figures took.
CREATE OR REPLACE FUNCTION analytics_events_from()
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
BEGIN
    RETURN greatest(
        (SELECT max(now() - (j.config ->> 'drop_after')::interval)
           FROM timescaledb_information.jobs AS j
          WHERE j.proc_name = 'policy_retention' AND j.hypertable_name = 'analytics_events'),
        (SELECT h.events_from FROM analytics_retention_horizon AS h),
        -- The end of the last stretch without chunks in which somebody was first seen.
        (SELECT max(s.stretch_end)
           FROM (
               SELECT
                   lag(c.range_end, 1, '-infinity') OVER (ORDER BY c.range_start) AS stretch_start,
                   c.range_start AS stretch_end
               FROM (
                   SELECT c.range_start, c.range_end
                   FROM timescaledb_information.chunks AS c
                   WHERE c.hypertable_name = 'analytics_events'
                   UNION ALL
                   SELECT now(), now()
               ) AS c
           ) AS s
          WHERE s.stretch_start < s.stretch_end
            AND EXISTS (
                SELECT FROM analytics_users AS u
                WHERE u.first_seen >= s.stretch_start AND u.first_seen < s.stretch_end
            ))
    );
END
$$;

COMMENT ON FUNCTION analytics_events_from IS
    'The instant before which events are gone or may go at any moment (the retention horizon); null: none are.';

-- Of many periods at once: the horizon and the windows that analytics_users has taken in are read once, by the caller.
CREATE OR REPLACE FUNCTION analytics_users_are_kept(
    p_start timestamptz, p_end timestamptz, p_horizon timestamptz, p_closed tstzmultirange
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    -- Before the first closed window nothing is known to have happened.
    SELECT p_horizon IS NULL OR p_horizon <= p_start OR (
        p_closed IS NOT NULL AND NOT isempty(p_closed) AND isempty(
            tstzmultirange(tstzrange(p_start, p_end))
            * tstzmultirange(tstzrange(NULL, p_horizon))
            * tstzmultirange(tstzrange(lower(p_closed), NULL))
            - p_closed
        )
    )
$$;

COMMENT ON FUNCTION analytics_users_are_kept(timestamptz, timestamptz, timestamptz, tstzmultirange) IS
    'Whether users first seen in a half-open period are known: what has expired of it was closed before.';

CREATE OR REPLACE FUNCTION analytics_activity_is_kept(
    p_start timestamptz, p_end timestamptz, p_horizon timestamptz, p_closed tstzmultirange, p_zone text DEFAULT 'UTC'
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    -- Whole months are kept; what sticks out on either side is counted over the events.
    SELECT analytics_users_are_kept(p_start, p_end, p_horizon, p_closed) AND coalesce(
        p_horizon <= CASE
            WHEN p_start < least(analytics_local_ceil('month', p_start, p_zone), p_end) THEN p_start
            WHEN analytics_local_floor('month', p_end, p_zone) < p_end THEN analytics_local_floor('month', p_end, p_zone)
        END,
        true
    )
$$;

COMMENT ON FUNCTION analytics_activity_is_kept(timestamptz, timestamptz, timestamptz, tstzmultirange, text) IS
    'Whether the active users of a half-open period can be counted: no event it needs has expired.';

CREATE OR REPLACE FUNCTION analytics_activity_is_kept(
    p_start timestamptz, p_end timestamptz, p_zone text DEFAULT 'UTC'
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT analytics_activity_is_kept(
        p_start, p_end, analytics_events_from(),
        (SELECT c.windows FROM analytics_closed_windows AS c WHERE c.relation = 'analytics_users'), p_zone
    )
$$;

COMMENT ON FUNCTION analytics_activity_is_kept(timestamptz, timestamptz, text) IS
    'Whether the active users of a half-open period can be counted, by the horizon and the closed windows as they are.';
