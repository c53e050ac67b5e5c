-- Users: a user is (company_id, user_id), DEFINITIONS version 1. Periods are half-open; a null
-- company means all companies.

CREATE OR REPLACE FUNCTION analytics_active_users(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whole months come from the user grain, what sticks out on either side from the events.
    WITH whole AS (
        SELECT
            (date_trunc('month', p_start AT TIME ZONE 'UTC' - interval '1 microsecond') + interval '1 month')
                AT TIME ZONE 'UTC' AS first,
            date_trunc('month', p_end, 'UTC') AS last
    ),
    edge AS (
        SELECT p_start AS lo, least(first, p_end) AS hi FROM whole WHERE first > p_start
        UNION ALL
        SELECT greatest(last, p_start), p_end FROM whole WHERE last < p_end AND last >= first
    ),
    active AS (
        SELECT a.company_id, a.user_id
        FROM analytics_user_activity_monthly AS a, whole AS w
        WHERE a.bucket >= w.first AND a.bucket < w.last
          AND (p_company IS NULL OR a.company_id = p_company)
        UNION
        SELECT e.company_id, e.user_id
        FROM edge AS x
        JOIN analytics_events AS e ON e."timestamp" >= x.lo AND e."timestamp" < x.hi
        WHERE e.category IN ('revenue', 'user_activity', 'crypto')
          AND e.event_type <> 'user.deleted'
          AND e.user_id IS NOT NULL
          AND (p_company IS NULL OR e.company_id = p_company)
    )
    SELECT count(*) FROM active
$$;

COMMENT ON FUNCTION analytics_active_users IS
    'Distinct users with an event of their own (revenue, user_activity, crypto) in the period.';

CREATE OR REPLACE FUNCTION analytics_new_users(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT count(*)
    FROM analytics_users AS u
    WHERE u.first_seen >= p_start AND u.first_seen < p_end
      AND (p_company IS NULL OR u.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_new_users IS
    'Users whose first event of any kind lies in the period, as of the last closed day.';

CREATE OR REPLACE FUNCTION analytics_user_series(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (month timestamptz, active_users bigint, new_users bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m.month, coalesce(a.active_users, 0), coalesce(n.new_users, 0)
    FROM (
        SELECT month AT TIME ZONE 'UTC' AS month
        FROM generate_series(
            date_trunc('month', p_start AT TIME ZONE 'UTC'),
            p_end AT TIME ZONE 'UTC' - interval '1 microsecond',
            interval '1 month'
        ) AS month
    ) AS m
    LEFT JOIN (
        SELECT g.bucket, count(*) AS active_users
        FROM analytics_user_activity_monthly AS g
        WHERE g.bucket >= p_start AND g.bucket < p_end
          AND (p_company IS NULL OR g.company_id = p_company)
        GROUP BY g.bucket
    ) AS a ON a.bucket = m.month
    LEFT JOIN (
        SELECT date_trunc('month', u.first_seen, 'UTC') AS bucket, count(*) AS new_users
        FROM analytics_users AS u
        WHERE u.first_seen >= p_start AND u.first_seen < p_end
          AND (p_company IS NULL OR u.company_id = p_company)
        GROUP BY 1
    ) AS n ON n.bucket = m.month
    ORDER BY m.month
$$;

COMMENT ON FUNCTION analytics_user_series IS
    'Distinct active users and new users of whole UTC months, one row a month, zeros included.';
