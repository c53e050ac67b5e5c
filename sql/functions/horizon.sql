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
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Before the first closed window nothing is known to have happened.
    SELECT p_horizon IS NULL OR p_horizon <= p_start OR (
        p_closed IS NOT NULL AND NOT isempty(p_closed) AND isempty(
            tstzmultirange(tstzrange(p_start, p_end))
            * tstzmultirange(tstzrange(NULL, p_horizon))
            * tstzmultirange(tstzrange(lower(p_closed), NULL))
            - p_closed
        )
    ) OR analytics_is_brought_back(p_start, p_end)
$$;

COMMENT ON FUNCTION analytics_users_are_kept(timestamptz, timestamptz, timestamptz, tstzmultirange) IS
    'Whether users first seen in a half-open period are known: what has expired of it was closed before, or brought back.';

-- Months of another zone than UTC are counted over months of UTC, by the instants of each user's first and last event
-- in them: where these are unknown (unsettled), the events are needed; and for a local month inside one of UTC.
CREATE OR REPLACE FUNCTION analytics_activity_is_kept(
    p_start timestamptz, p_end timestamptz, p_horizon timestamptz, p_closed tstzmultirange, p_zone text,
    p_unsettled tstzmultirange
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whole months are kept; what sticks out on either side is counted over the events.
    SELECT analytics_users_are_kept(p_start, p_end, p_horizon, p_closed) AND (
        coalesce(
            p_horizon <= CASE
                WHEN p_start < least(analytics_local_ceil('month', p_start, p_zone), p_end) THEN p_start
                WHEN analytics_local_floor('month', p_end, p_zone) < p_end
                THEN analytics_local_floor('month', p_end, p_zone)
                WHEN analytics_is_inside_month(p_start, p_end) THEN p_start
            END,
            true
        )
        AND (
            p_horizon IS NULL OR p_unsettled IS NULL OR isempty(
                tstzmultirange(tstzrange(p_start, p_end)) * tstzmultirange(tstzrange(NULL, p_horizon)) * p_unsettled
            )
        )
        OR analytics_is_brought_back(p_start, p_end)
    )
$$;

COMMENT ON FUNCTION analytics_activity_is_kept(
    timestamptz, timestamptz, timestamptz, tstzmultirange, text, tstzmultirange
) IS
    'Whether the active users of a half-open period can be counted: no event it needs has expired.';

CREATE OR REPLACE FUNCTION analytics_activity_is_kept(
    p_start timestamptz, p_end timestamptz, p_zone text DEFAULT 'UTC'
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT analytics_activity_is_kept(
        p_start, p_end, h.horizon,
        (SELECT c.windows FROM analytics_closed_windows AS c WHERE c.relation = 'analytics_users'),
        p_zone,
        CASE WHEN p_zone <> 'UTC' THEN analytics_unsettled_months(NULL, p_start, p_end, h.horizon) END
    )
    FROM (SELECT analytics_events_from()) AS h (horizon)
$$;

COMMENT ON FUNCTION analytics_activity_is_kept(timestamptz, timestamptz, text) IS
    'Whether the active users of a half-open period can be counted, by the horizon and the closed windows as they are.';

-- Only what was kept from before the horizon, when the user grain was rebuilt to have them, lacks instants.
CREATE OR REPLACE FUNCTION analytics_unsettled_months(
    p_companies text[], p_start timestamptz, p_end timestamptz, p_horizon timestamptz
)
RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
BEGIN
    IF NOT analytics_keeps_activity_instants() THEN
        RETURN tstzmultirange(tstzrange(analytics_floor('month', p_start), analytics_ceil('month', p_end)));
    ELSIF p_horizon IS NULL OR p_horizon <= analytics_floor('month', p_start) THEN
        RETURN '{}';
    END IF;
    RETURN coalesce(
        (
            SELECT range_agg(tstzrange(m.bucket, analytics_ceil('month', m.bucket + interval '1 microsecond')))
            FROM (
                SELECT DISTINCT a.bucket
                FROM analytics_user_activity_monthly AS a
                WHERE a.bucket >= analytics_floor('month', p_start) AND a.bucket < least(p_end, p_horizon)
                  AND a.first_at IS NULL
                  AND (p_companies IS NULL OR a.company_id = ANY (p_companies))
            ) AS m
        ),
        '{}'
    );
END
$$;

COMMENT ON FUNCTION analytics_unsettled_months IS
    'The months (UTC) in which the user grain lacks the instants of some user''s first and last event.';

-- Days and hours of UTC that a date of another zone cuts need their events. Where these have expired, what was in such a
-- day or hour can't be told apart: amounts that it belongs to are unknown.
CREATE OR REPLACE FUNCTION analytics_expired_amounts(p_periods analytics_figure_period[])
RETURNS TABLE (place bigint, figure text)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    first_start timestamptz := (SELECT min(w.period_start) FROM unnest(p_periods) AS w WHERE w.time_zone <> 'UTC');
    horizon timestamptz := CASE WHEN first_start IS NOT NULL THEN analytics_events_from() END;
    test_companies text[];
BEGIN
    IF horizon IS NULL OR horizon <= first_start THEN
        RETURN;
    END IF;
    test_companies := analytics_test_companies();
    RETURN QUERY
    SELECT w.place, v.figure
    FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    CROSS JOIN LATERAL (
        SELECT 'invoiced'
        WHERE EXISTS (
            SELECT
            FROM analytics_billing_daily AS d
            WHERE d.bucket >= analytics_floor('day', w.period_start) AND d.bucket < least(w.period_end, horizon)
              AND CASE WHEN w.company_id IS NULL THEN d.company_id <> ALL (test_companies)
                       ELSE d.company_id = w.company_id END
              AND (
                  d.bucket < w.period_start
                  OR d.bucket + interval '24 hours' > w.period_end
                  OR (
                      d.currency <> w.currency
                      AND analytics_local_date(d.bucket, w.time_zone)
                          <> analytics_local_date(d.bucket + interval '24 hours' - interval '1 microsecond', w.time_zone)
                  )
              )
        )
        UNION ALL
        SELECT 'totalRevenue'
        WHERE EXISTS (
            SELECT
            FROM analytics_revenue_hourly AS h
            WHERE h.bucket >= analytics_floor('hour', w.period_start) AND h.bucket < least(w.period_end, horizon)
              AND CASE WHEN w.company_id IS NULL THEN h.company_id <> ALL (test_companies)
                       ELSE h.company_id = w.company_id END
              AND (
                  h.bucket < w.period_start
                  OR h.bucket + interval '1 hour' > w.period_end
                  OR (
                      h.currency <> w.currency
                      AND analytics_local_date(h.bucket, w.time_zone)
                          <> analytics_local_date(h.bucket + interval '1 hour' - interval '1 microsecond', w.time_zone)
                  )
              )
        )
    ) AS v (figure)
    WHERE w.time_zone <> 'UTC' AND w.period_start < horizon;
END
$$;

COMMENT ON FUNCTION analytics_expired_amounts IS
    'Which amounts (invoiced, totalRevenue) of periods are unknown, because events that they need have expired.';
