-- Users: a user is (company_id, user_id), DEFINITIONS version 2. Periods are half-open; a null
-- company means all companies.

CREATE OR REPLACE FUNCTION analytics_known_users(p_company text, p_until timestamptz)
RETURNS TABLE (company_id text, user_id text, first_seen timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH pending AS MATERIALIZED (
        SELECT s.company_id, s.user_id, min(s.first_seen) AS first_seen
        FROM unnest(analytics_open_windows('analytics_users', p_until)) AS r
        -- Grouped window by window, so that the chunks outside of it are not even opened.
        CROSS JOIN LATERAL (
            SELECT e.company_id, e.user_id, min(e."timestamp") AS first_seen
            FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
              AND e.user_id IS NOT NULL
              AND (p_company IS NULL OR e.company_id = p_company)
            GROUP BY e.company_id, e.user_id
        ) AS s
        GROUP BY s.company_id, s.user_id
    )
    SELECT u.company_id, u.user_id, u.first_seen
    FROM analytics_users AS u
    WHERE (p_company IS NULL OR u.company_id = p_company)
      AND NOT EXISTS (SELECT FROM pending AS p WHERE p.company_id = u.company_id AND p.user_id = u.user_id)
    UNION ALL
    SELECT p.company_id, p.user_id, least(p.first_seen, u.first_seen)
    FROM pending AS p
    LEFT JOIN analytics_users AS u ON u.company_id = p.company_id AND u.user_id = p.user_id
$$;

COMMENT ON FUNCTION analytics_known_users IS
    'analytics_users with the events before an instant that it has not taken in yet.';

-- A user is deleted from after a deletion's instant up to the next other event, exclusive: an event of the same
-- instant as the deletion comes before it, and another deletion brings nobody back.
CREATE OR REPLACE FUNCTION analytics_known_user_deletions(p_company text, p_until timestamptz)
RETURNS TABLE (company_id text, user_id text, deleted_at timestamptz, returned_at timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH open AS MATERIALIZED (
        SELECT analytics_open_windows('analytics_users', p_until) AS windows
    ),
    pending AS MATERIALIZED (
        SELECT s.company_id, s.user_id, s.deleted_at
        FROM open AS o
        CROSS JOIN LATERAL unnest(o.windows) AS r
        CROSS JOIN LATERAL (
            SELECT DISTINCT e.company_id, e.user_id, e."timestamp" AS deleted_at
            FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
              AND e.event_type = 'user.deleted'
              AND e.user_id IS NOT NULL
              AND (p_company IS NULL OR e.company_id = p_company)
        ) AS s
    ),
    deletion AS MATERIALIZED (
        SELECT d.company_id, d.user_id, d.deleted_at, d.returned_at
        FROM analytics_user_deletions AS d
        WHERE d.deleted_at < p_until AND (p_company IS NULL OR d.company_id = p_company)
        UNION ALL
        SELECT p.company_id, p.user_id, p.deleted_at, NULL
        FROM pending AS p
        WHERE NOT EXISTS (
            SELECT FROM analytics_user_deletions AS d
            WHERE d.company_id = p.company_id AND d.user_id = p.user_id AND d.deleted_at = p.deleted_at
        )
    ),
    span AS MATERIALIZED (
        -- Returns from deletions that are taken in are known but for open windows, those from others are not at all.
        SELECT coalesce(lower(r), '-infinity') AS span_start, upper(r) AS span_end
        FROM unnest((
            SELECT o.windows + coalesce(
                (SELECT tstzmultirange(tstzrange(min(p.deleted_at), p_until)) FROM pending AS p HAVING count(*) > 0),
                '{}'
            )
            FROM open AS o
        )) AS r
    ),
    seen AS (
        SELECT s.company_id, s.user_id, s.deleted_at, min(s.returned_at) AS returned_at
        FROM span AS p
        CROSS JOIN LATERAL (
            SELECT d.company_id, d.user_id, d.deleted_at, min(e."timestamp") AS returned_at
            FROM deletion AS d
            JOIN analytics_events AS e
                ON e.company_id = d.company_id AND e.user_id = d.user_id AND e."timestamp" > d.deleted_at
            WHERE e."timestamp" >= p.span_start AND e."timestamp" < p.span_end
              AND e.event_type <> 'user.deleted'
              AND (p_company IS NULL OR e.company_id = p_company)
            GROUP BY d.company_id, d.user_id, d.deleted_at
        ) AS s
        GROUP BY s.company_id, s.user_id, s.deleted_at
    )
    SELECT d.company_id, d.user_id, d.deleted_at, least(d.returned_at, s.returned_at)
    FROM deletion AS d
    LEFT JOIN seen AS s ON s.company_id = d.company_id AND s.user_id = d.user_id AND s.deleted_at = d.deleted_at
$$;

COMMENT ON FUNCTION analytics_known_user_deletions IS
    'Deletions before an instant with the next other event of their user: analytics_user_deletions with the events '
    'that it has not taken in yet.';

CREATE OR REPLACE FUNCTION analytics_deleted_users(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (company_id text, user_id text, throughout boolean, at_start boolean, at_end boolean)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        d.company_id, d.user_id,
        bool_or(d.deleted_at < p_start AND (d.returned_at IS NULL OR d.returned_at >= p_end)),
        bool_or(d.deleted_at < p_start AND (d.returned_at IS NULL OR d.returned_at >= p_start)),
        bool_or(d.returned_at IS NULL OR d.returned_at >= p_end)
    FROM analytics_known_user_deletions(p_company, p_end) AS d
    GROUP BY d.company_id, d.user_id
$$;

COMMENT ON FUNCTION analytics_deleted_users IS
    'Users ever deleted before a period''s end, and whether they were during all of it, just before it, at its end.';

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
    SELECT CASE
        WHEN analytics_activity_is_kept(p_start, p_end)
        THEN (SELECT count(*) FROM analytics_active_user_set(p_company, p_start, p_end))
    END
$$;

COMMENT ON FUNCTION analytics_active_users IS
    'Distinct users with an event of their own (revenue, user_activity, crypto) in the period; null where events it '
    'needs have expired.';

CREATE OR REPLACE FUNCTION analytics_new_users(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE
        WHEN analytics_users_are_kept(p_start, p_end) THEN (
            SELECT count(*)
            FROM analytics_known_users(p_company, p_end) AS u
            WHERE u.first_seen >= p_start AND u.first_seen < p_end
        )
    END
$$;

COMMENT ON FUNCTION analytics_new_users IS
    'Users whose first event of any kind lies in the period; null where events it needs expired before it was closed.';

CREATE OR REPLACE FUNCTION analytics_total_users_by_company(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (company_id text, total_users bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Whoever was deleted has been seen: no join over all users.
    SELECT u.company_id, u.users - coalesce(d.users, 0)
    FROM (
        SELECT k.company_id, count(*) AS users
        FROM analytics_known_users(p_company, p_end) AS k
        WHERE k.first_seen < p_end
        GROUP BY k.company_id
    ) AS u
    LEFT JOIN (
        SELECT g.company_id, count(*) AS users
        FROM analytics_deleted_users(p_company, p_start, p_end) AS g
        WHERE g.throughout
        GROUP BY g.company_id
    ) AS d ON d.company_id = u.company_id
    WHERE u.users > coalesce(d.users, 0)
$$;

COMMENT ON FUNCTION analytics_total_users_by_company IS
    'Users first seen before the period''s end and not deleted before its start, or back since, per company.';

CREATE OR REPLACE FUNCTION analytics_user_metrics_by_company(
    p_company text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (
    company_id text, total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_before bigint, active_fingerprint bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH kept AS MATERIALIZED (
        SELECT
            analytics_users_are_kept(p_start, p_end) AS new,
            analytics_activity_is_kept(p_start, p_end) AS active,
            analytics_activity_is_kept(analytics_previous_start(p_start, p_end), p_start) AS before
    ),
    known AS MATERIALIZED (
        SELECT u.company_id, u.user_id, u.first_seen
        FROM analytics_known_users(p_company, p_end) AS u
        WHERE u.first_seen < p_end
    ),
    -- Users only: of a month that waits to be closed again after events were removed, the aggregate still names whoever
    -- had them, and users are settled by the day.
    activity AS MATERIALIZED (
        SELECT s.company_id, s.user_id, bool_or(s.is_now) AS is_active, bool_or(NOT s.is_now) AS was_active
        FROM (
            SELECT a.company_id, a.user_id, true AS is_now
            FROM analytics_active_user_set(p_company, p_start, p_end) AS a
            UNION ALL
            SELECT b.company_id, b.user_id, false
            FROM analytics_active_user_set(p_company, analytics_previous_start(p_start, p_end), p_start) AS b
        ) AS s
        WHERE EXISTS (SELECT FROM known AS u WHERE u.company_id = s.company_id AND u.user_id = s.user_id)
        GROUP BY s.company_id, s.user_id
    ),
    seen AS (
        SELECT
            u.company_id, count(*) AS users,
            count(*) FILTER (WHERE u.first_seen >= p_start) AS new_users
        FROM known AS u
        GROUP BY u.company_id
    ),
    counted AS (
        SELECT
            s.company_id,
            count(*) FILTER (WHERE s.is_deleted) AS deleted_users,
            count(*) FILTER (WHERE s.is_deleted_at_start) AS deleted_at_start,
            count(*) FILTER (WHERE s.is_active) AS active_users,
            count(*) FILTER (WHERE s.was_active) AS active_before,
            count(*) FILTER (WHERE s.has_churned) AS churned_users,
            count(*) FILTER (WHERE s.has_churned AND s.was_active) AS churned_of_before,
            bit_xor(hashtextextended(s.user_id, 0)) FILTER (WHERE s.is_active) AS active_fingerprint
        FROM (
            SELECT
                coalesce(a.company_id, d.company_id) AS company_id,
                coalesce(a.user_id, d.user_id) AS user_id,
                a.is_active AND d.throughout IS NOT TRUE AS is_active, a.was_active,
                d.throughout AS is_deleted,
                d.at_start AS is_deleted_at_start,
                -- Whoever was deleted before the period and is not back since has churned then.
                d.throughout IS NOT TRUE AND (d.at_end OR (a.was_active AND NOT a.is_active)) AS has_churned
            FROM activity AS a
            FULL JOIN analytics_deleted_users(p_company, p_start, p_end) AS d
                ON d.company_id = a.company_id AND d.user_id = a.user_id
        ) AS s
        GROUP BY s.company_id
    )
    -- Whoever is in one of the sets has been seen: there every company of the others is, and what is counted of the
    -- deleted is taken off without a join over all users.
    SELECT
        s.company_id,
        s.users - coalesce(c.deleted_users, 0),
        CASE WHEN k.active THEN coalesce(c.active_users, 0) END,
        CASE WHEN k.new THEN s.new_users END,
        CASE WHEN k.active AND k.before THEN coalesce(c.churned_users, 0) END,
        s.users - s.new_users - coalesce(c.deleted_at_start, 0),
        CASE WHEN k.before THEN coalesce(c.active_before, 0) END,
        CASE WHEN k.active AND k.before THEN coalesce(c.churned_of_before, 0) END,
        coalesce(c.active_fingerprint, 0)
    FROM seen AS s
    CROSS JOIN kept AS k
    LEFT JOIN counted AS c ON c.company_id = s.company_id
$$;

COMMENT ON FUNCTION analytics_user_metrics_by_company IS
    'Total, active, new and churned users of a period, users at its start, and those active in the period before, per '
    'company; null where events it needs have expired.';

CREATE OR REPLACE FUNCTION analytics_user_metrics(p_company text, p_start timestamptz, p_end timestamptz)
RETURNS TABLE (
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        s.total_users, s.active_users, s.new_users, s.churned_users, s.users_at_start, s.active_before,
        analytics_percentage(s.churned_users, s.total_users),
        analytics_percentage(s.active_users, s.total_users),
        analytics_percentage(s.churned_of_before, s.active_before)
    FROM (
        SELECT
            coalesce(sum(u.total_users), 0)::bigint AS total_users,
            CASE WHEN k.active THEN coalesce(sum(u.active_users), 0)::bigint END AS active_users,
            CASE WHEN k.new THEN coalesce(sum(u.new_users), 0)::bigint END AS new_users,
            CASE WHEN k.active AND k.before THEN coalesce(sum(u.churned_users), 0)::bigint END AS churned_users,
            coalesce(sum(u.users_at_start), 0)::bigint AS users_at_start,
            CASE WHEN k.before THEN coalesce(sum(u.active_before), 0)::bigint END AS active_before,
            sum(u.churned_of_before)::bigint AS churned_of_before
        FROM (
            -- Asked here too: no company, no row.
            SELECT
                analytics_users_are_kept(p_start, p_end) AS new,
                analytics_activity_is_kept(p_start, p_end) AS active,
                analytics_activity_is_kept(analytics_previous_start(p_start, p_end), p_start) AS before
        ) AS k
        LEFT JOIN analytics_user_metrics_by_company(p_company, p_start, p_end) AS u ON true
        GROUP BY k.new, k.active, k.before
    ) AS s
$$;

COMMENT ON FUNCTION analytics_user_metrics IS
    'User figures of a period, of a company or of all; null without a base, or where events it needs have expired.';

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
    SELECT
        m.month,
        CASE WHEN m.is_kept THEN coalesce(a.active_users, 0) END,
        CASE WHEN m.is_kept THEN coalesce(n.new_users, 0) END
    FROM (
        SELECT
            month AT TIME ZONE 'UTC' AS month,
            analytics_users_are_kept(
                month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
            ) AS is_kept
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
    'Distinct active users and new users of whole UTC months, one row a month, zeros included; null where the '
    'events of a month expired before it was closed.';
