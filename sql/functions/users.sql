-- Users: a user is (company_id, user_id), DEFINITIONS version 1. Periods are half-open; a null
-- company means all companies.

CREATE OR REPLACE FUNCTION analytics_known_users(p_company text, p_until timestamptz)
RETURNS TABLE (company_id text, user_id text, first_seen timestamptz, deleted_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH pending AS MATERIALIZED (
        SELECT s.company_id, s.user_id, min(s.first_seen) AS first_seen, min(s.deleted_at) AS deleted_at
        FROM unnest(analytics_open_windows('analytics_users', p_until)) AS r
        -- Grouped window by window, so that the chunks outside of it are not even opened.
        CROSS JOIN LATERAL (
            SELECT
                e.company_id, e.user_id, min(e."timestamp") AS first_seen,
                min(e."timestamp") FILTER (WHERE e.event_type = 'user.deleted') AS deleted_at
            FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
              AND e.user_id IS NOT NULL
              AND (p_company IS NULL OR e.company_id = p_company)
            GROUP BY e.company_id, e.user_id
        ) AS s
        GROUP BY s.company_id, s.user_id
    )
    SELECT u.company_id, u.user_id, u.first_seen, u.deleted_at
    FROM analytics_users AS u
    WHERE (p_company IS NULL OR u.company_id = p_company)
      AND NOT EXISTS (SELECT FROM pending AS p WHERE p.company_id = u.company_id AND p.user_id = u.user_id)
    UNION ALL
    SELECT p.company_id, p.user_id, least(p.first_seen, u.first_seen), least(p.deleted_at, u.deleted_at)
    FROM pending AS p
    LEFT JOIN analytics_users AS u ON u.company_id = p.company_id AND u.user_id = p.user_id
$$;

COMMENT ON FUNCTION analytics_known_users IS
    'analytics_users with the events before an instant that it has not taken in yet.';

CREATE OR REPLACE FUNCTION analytics_active_user_set(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (company_id text, user_id text)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whole months come from the user grain, what sticks out on either side from the events. Each part begins
    -- with whether there is one, so that no chunk is opened for a part that is empty.
    SELECT a.company_id, a.user_id
    FROM analytics_user_activity_monthly AS a
    WHERE analytics_ceil('month', p_start) < analytics_floor('month', p_end)
      AND a.bucket >= analytics_ceil('month', p_start) AND a.bucket < analytics_floor('month', p_end)
      AND (p_company IS NULL OR a.company_id = p_company)
    UNION
    SELECT e.company_id, e.user_id
    FROM analytics_events AS e
    WHERE p_start < least(analytics_ceil('month', p_start), p_end)
      AND e."timestamp" >= p_start AND e."timestamp" < least(analytics_ceil('month', p_start), p_end)
      AND e.category IN ('revenue', 'user_activity', 'crypto')
      AND e.event_type <> 'user.deleted'
      AND e.user_id IS NOT NULL
      AND (p_company IS NULL OR e.company_id = p_company)
    UNION
    SELECT e.company_id, e.user_id
    FROM analytics_events AS e
    WHERE greatest(analytics_floor('month', p_end), analytics_ceil('month', p_start)) < p_end
      AND e."timestamp" >= greatest(analytics_floor('month', p_end), analytics_ceil('month', p_start))
      AND e."timestamp" < p_end
      AND e.category IN ('revenue', 'user_activity', 'crypto')
      AND e.event_type <> 'user.deleted'
      AND e.user_id IS NOT NULL
      AND (p_company IS NULL OR e.company_id = p_company)
$$;

COMMENT ON FUNCTION analytics_active_user_set IS
    'Users with an event of their own (revenue, user_activity, crypto) in the period, each once.';

CREATE OR REPLACE FUNCTION analytics_active_users(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT count(*) FROM analytics_active_user_set(p_company, p_start, p_end)
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
    FROM analytics_known_users(p_company, p_end) AS u
    WHERE u.first_seen >= p_start AND u.first_seen < p_end
$$;

COMMENT ON FUNCTION analytics_new_users IS
    'Users whose first event of any kind lies in the period.';

CREATE OR REPLACE FUNCTION analytics_total_users_by_company(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (company_id text, total_users bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT u.company_id, count(*)
    FROM analytics_known_users(p_company, p_end) AS u
    WHERE u.first_seen < p_end AND (u.deleted_at IS NULL OR u.deleted_at >= p_start)
    GROUP BY u.company_id
$$;

COMMENT ON FUNCTION analytics_total_users_by_company IS
    'Users first seen before the period''s end and not deleted before its start, per company.';

CREATE OR REPLACE FUNCTION analytics_user_metrics_by_company(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (
    company_id text, total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, churned_of_start bigint, active_fingerprint bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH active AS MATERIALIZED (
        SELECT a.company_id, a.user_id FROM analytics_active_user_set(p_company, p_start, p_end) AS a
    ),
    before AS MATERIALIZED (
        SELECT b.company_id, b.user_id
        FROM analytics_active_user_set(p_company, analytics_previous_start(p_start, p_end), p_start) AS b
    ),
    known AS MATERIALIZED (
        SELECT u.* FROM analytics_known_users(p_company, p_end) AS u WHERE u.first_seen < p_end
    ),
    churned AS MATERIALIZED (
        (SELECT b.company_id, b.user_id FROM before AS b EXCEPT SELECT a.company_id, a.user_id FROM active AS a)
        UNION
        SELECT k.company_id, k.user_id FROM known AS k WHERE k.deleted_at >= p_start AND k.deleted_at < p_end
    ),
    counted AS (
        SELECT
            k.company_id,
            count(*) FILTER (WHERE k.deleted_at IS NULL OR k.deleted_at >= p_start) AS total_users,
            count(*) FILTER (WHERE k.first_seen >= p_start) AS new_users
        FROM known AS k
        GROUP BY k.company_id
    )
    -- Whoever is in one of the sets has been seen: counted holds every company of the others.
    SELECT
        c.company_id, c.total_users,
        coalesce(a.users, 0), c.new_users, coalesce(l.users, 0), coalesce(b.users, 0), coalesce(l.of_start, 0),
        coalesce(a.fingerprint, 0)
    FROM counted AS c
    LEFT JOIN (
        SELECT company_id, count(*) AS users, bit_xor(hashtextextended(user_id, 0)) AS fingerprint
        FROM active
        GROUP BY company_id
    ) AS a ON a.company_id = c.company_id
    LEFT JOIN (SELECT company_id, count(*) AS users FROM before GROUP BY 1) AS b ON b.company_id = c.company_id
    LEFT JOIN (
        SELECT ch.company_id, count(*) AS users, count(b.user_id) AS of_start
        FROM churned AS ch
        LEFT JOIN before AS b ON b.company_id = ch.company_id AND b.user_id = ch.user_id
        GROUP BY ch.company_id
    ) AS l ON l.company_id = c.company_id
$$;

COMMENT ON FUNCTION analytics_user_metrics_by_company IS
    'Total, active, new and churned users of a period, and of those active in the one before, per company.';

CREATE OR REPLACE FUNCTION analytics_user_metrics(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        s.total_users, s.active_users, s.new_users, s.churned_users, s.users_at_start,
        analytics_percentage(s.churned_users, s.total_users),
        analytics_percentage(s.active_users, s.total_users),
        analytics_percentage(s.churned_of_start, s.users_at_start)
    FROM (
        SELECT
            coalesce(sum(u.total_users), 0)::bigint AS total_users,
            coalesce(sum(u.active_users), 0)::bigint AS active_users,
            coalesce(sum(u.new_users), 0)::bigint AS new_users,
            coalesce(sum(u.churned_users), 0)::bigint AS churned_users,
            coalesce(sum(u.users_at_start), 0)::bigint AS users_at_start,
            coalesce(sum(u.churned_of_start), 0)::bigint AS churned_of_start
        FROM analytics_user_metrics_by_company(p_company, p_start, p_end) AS u
    ) AS s
$$;

COMMENT ON FUNCTION analytics_user_metrics IS
    'User figures of a period, of a company or of all; a rate without a base is null.';

CREATE OR REPLACE FUNCTION analytics_percentage(p_part numeric, p_whole numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN p_whole > 0 THEN analytics_fraction(100 * p_part, 1, p_whole) END
$$;

COMMENT ON FUNCTION analytics_percentage IS
    'p_part as a percentage of p_whole; null unless p_whole is above zero.';

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
        FROM analytics_known_users(p_company, p_end) AS u
        WHERE u.first_seen >= p_start AND u.first_seen < p_end
        GROUP BY 1
    ) AS n ON n.bucket = m.month
    ORDER BY m.month
$$;

COMMENT ON FUNCTION analytics_user_series IS
    'Distinct active users and new users of whole UTC months, one row a month, zeros included.';
