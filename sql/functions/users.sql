-- Users: a user is (company_id, user_id). Periods are half-open, of any instants.

-- A user is deleted from after a deletion's instant up to the next other event, exclusive: an event of the same
-- instant as the deletion comes before it, and another deletion brings nobody back.

-- A database of before they were kept has the user grain without them until it is rebuilt.
CREATE OR REPLACE FUNCTION analytics_keeps_activity_instants()
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT EXISTS (
        SELECT FROM pg_attribute AS a
        WHERE a.attrelid = 'analytics_user_activity_monthly'::regclass AND a.attname = 'first_at'
          AND NOT a.attisdropped
    )
$$;

COMMENT ON FUNCTION analytics_keeps_activity_instants IS
    'Whether the user grain has first_at and last_at, each null for what was stored before they were kept.';

CREATE OR REPLACE FUNCTION analytics_open_users(p_companies text[], p_windows tstzmultirange)
RETURNS TABLE (company_id text, user_id text, first_seen timestamptz, deletions timestamptz[])
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10000
AS $$
DECLARE
    part tstzrange;
BEGIN
    -- One by one, so that the chunks outside of it are not even opened.
    FOREACH part IN ARRAY ARRAY(SELECT w FROM unnest(p_windows) AS w)
    LOOP
        RETURN QUERY
        SELECT
            e.company_id, e.user_id, min(e."timestamp"),
            array_agg(e."timestamp") FILTER (WHERE e.event_type = 'user.deleted')
        FROM analytics_events AS e
        WHERE e."timestamp" >= coalesce(lower(part), '-infinity') AND e."timestamp" < upper(part)
          AND e.user_id IS NOT NULL
          AND (p_companies IS NULL OR e.company_id = ANY (p_companies))
        GROUP BY e.company_id, e.user_id;
    END LOOP;
END
$$;

COMMENT ON FUNCTION analytics_open_users IS
    'Users with events in each of some windows: the first event of any kind there, and the deletions.';

CREATE OR REPLACE FUNCTION analytics_returns(
    p_companies text[], p_users text[], p_deletions timestamptz[], p_windows tstzmultirange
)
RETURNS TABLE (company_id text, user_id text, deleted_at timestamptz, returned_at timestamptz)
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
    part tstzrange;
BEGIN
    IF cardinality(p_deletions) > 0 THEN
        FOREACH part IN ARRAY ARRAY(SELECT w FROM unnest(p_windows) AS w)
        LOOP
            RETURN QUERY
            SELECT d.company_id, d.user_id, d.deleted_at, min(e."timestamp")
            FROM unnest(p_companies, p_users, p_deletions) AS d (company_id, user_id, deleted_at)
            JOIN analytics_events AS e
                ON e.company_id = d.company_id AND e.user_id = d.user_id AND e."timestamp" > d.deleted_at
            WHERE e."timestamp" >= coalesce(lower(part), '-infinity') AND e."timestamp" < upper(part)
              AND e.event_type <> 'user.deleted'
            GROUP BY d.company_id, d.user_id, d.deleted_at;
        END LOOP;
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_returns IS
    'Of deletions of users, each with its company and user, the next other event in each of some windows.';

-- Slots are the stretches between one bound and the next. A user who was deleted more than once has as many rows.
-- A month of UTC that a local month cuts lies in two slots, one that has its start and one that reaches its end: who was
-- active in them follows from the first and the last instant. Where these are unknown, or not stored, the events say it,
-- and while they are there, also what little of another month a local month reaches into. Of a local month that lies
-- inside one of UTC, because its zone skipped a day, they say it, too: who was active before and after it may have been
-- in it or not.
CREATE OR REPLACE FUNCTION analytics_active_slots(
    p_companies text[], p_bounds timestamptz[], p_months tstzmultirange, p_others tstzmultirange,
    p_unsettled tstzmultirange, p_horizon timestamptz
)
RETURNS TABLE (
    company_id text, user_id text, slots varbit,
    first_seen timestamptz, deleted_at timestamptz, returned_at timestamptz
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
    part tstzrange;
    none varbit := repeat('0', cardinality(p_bounds) - 1)::varbit;
    first_bound timestamptz := p_bounds[1];
    last_bound timestamptz := p_bounds[cardinality(p_bounds)];
    unstored tstzmultirange := analytics_unstored(
        'month', ARRAY['analytics_user_activity_monthly'],
        (
            SELECT coalesce(
                range_agg(tstzrange(analytics_floor('month', lower(m)), analytics_ceil('month', upper(m)))), '{}'
            )
            FROM unnest(p_months) AS m
        )
    );
    cut_months tstzmultirange := p_months * analytics_split('month', p_bounds);
    whole_months tstzmultirange := p_months - cut_months - unstored;
    from_events tstzmultirange := p_months * unstored + cut_months * p_unsettled + (
        SELECT coalesce(range_agg(e.edge), '{}')
        FROM unnest(cut_months) AS m
        CROSS JOIN LATERAL (
            VALUES
                (tstzrange(lower(m), least(analytics_ceil('month', lower(m)), upper(m)))),
                (tstzrange(greatest(analytics_floor('month', upper(m)), lower(m)), upper(m)))
        ) AS e (edge)
        WHERE upper(e.edge) - lower(e.edge) <= interval '24 hours'
          AND lower(e.edge) >= coalesce(p_horizon, '-infinity')
    );
    from_instants tstzmultirange := cut_months - from_events;
    others tstzmultirange := p_others + from_events;
BEGIN
    -- A loop, because a query would be planned anew for each call.
    IF NOT isempty(cut_months) THEN
        FOR n IN 2..cardinality(p_bounds) LOOP
            IF analytics_is_inside_month(p_bounds[n - 1], p_bounds[n]) THEN
                others := others + cut_months * tstzmultirange(tstzrange(p_bounds[n - 1], p_bounds[n]));
            END IF;
        END LOOP;
    END IF;
    FOREACH part IN ARRAY ARRAY(SELECT w FROM unnest(whole_months) AS w)
    LOOP
        RETURN QUERY
        SELECT s.company_id, s.user_id, s.slots::varbit, u.first_seen, d.deleted_at, d.returned_at
        FROM (
            SELECT
                a.company_id, a.user_id, bit_or(set_bit(none, width_bucket(a.bucket, p_bounds) - 1, 1)) AS slots
            FROM analytics_user_activity_monthly AS a
            WHERE a.bucket >= lower(part) AND a.bucket < upper(part)
              AND (p_companies IS NULL OR a.company_id = ANY (p_companies))
            GROUP BY a.company_id, a.user_id
        ) AS s
        LEFT JOIN analytics_users AS u ON u.company_id = s.company_id AND u.user_id = s.user_id
        LEFT JOIN analytics_user_deletions AS d ON d.company_id = s.company_id AND d.user_id = s.user_id;
    END LOOP;
    FOREACH part IN ARRAY ARRAY(
        SELECT tstzrange(analytics_floor('month', lower(w)), analytics_ceil('month', upper(w)))
        FROM unnest(from_instants) AS w
    )
    LOOP
        RETURN QUERY
        SELECT s.company_id, s.user_id, s.slots::varbit, u.first_seen, d.deleted_at, d.returned_at
        FROM (
            SELECT
                a.company_id, a.user_id,
                bit_or(
                    CASE WHEN a.first_at >= first_bound AND a.first_at < last_bound
                         THEN set_bit(none, width_bucket(a.first_at, p_bounds) - 1, 1) ELSE none END
                    | CASE WHEN a.last_at >= first_bound AND a.last_at < last_bound
                           THEN set_bit(none, width_bucket(a.last_at, p_bounds) - 1, 1) ELSE none END
                ) AS slots
            FROM analytics_user_activity_monthly AS a
            WHERE a.bucket >= lower(part) AND a.bucket < upper(part)
              AND (p_companies IS NULL OR a.company_id = ANY (p_companies))
            GROUP BY a.company_id, a.user_id
        ) AS s
        LEFT JOIN analytics_users AS u ON u.company_id = s.company_id AND u.user_id = s.user_id
        LEFT JOIN analytics_user_deletions AS d ON d.company_id = s.company_id AND d.user_id = s.user_id;
    END LOOP;
    FOREACH part IN ARRAY ARRAY(SELECT w FROM unnest(others) AS w)
    LOOP
        RETURN QUERY
        SELECT s.company_id, s.user_id, s.slots::varbit, u.first_seen, d.deleted_at, d.returned_at
        FROM (
            SELECT
                e.company_id, e.user_id, bit_or(set_bit(none, width_bucket(e."timestamp", p_bounds) - 1, 1)) AS slots
            FROM analytics_events AS e
            WHERE e."timestamp" >= lower(part) AND e."timestamp" < upper(part)
              AND e.category IN ('revenue', 'user_activity', 'crypto')
              AND e.event_type <> 'user.deleted'
              AND e.user_id IS NOT NULL
              AND (p_companies IS NULL OR e.company_id = ANY (p_companies))
            GROUP BY e.company_id, e.user_id
        ) AS s
        LEFT JOIN analytics_users AS u ON u.company_id = s.company_id AND u.user_id = s.user_id
        LEFT JOIN analytics_user_deletions AS d ON d.company_id = s.company_id AND d.user_id = s.user_id;
    END LOOP;
END
$$;

COMMENT ON FUNCTION analytics_active_slots IS
    'Users with an event of their own (revenue, user_activity, crypto), a bit for each slot in which they have one, and '
    'what is stored of them: whole months that are stored are read from the user grain, other stretches from the events.';

CREATE OR REPLACE FUNCTION analytics_user_bases(p_periods analytics_figure_period[], p_with_activity boolean)
RETURNS TABLE (
    place bigint, seen_users bigint, total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint, active_fingerprint bigint
)
LANGUAGE plpgsql STABLE PARALLEL SAFE
-- How many periods there are, and of when, decides what is the best plan.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    -- Null: those of all.
    companies text[];
    asked_all boolean;
    -- Of all periods with those before them; the instants at which users are counted; the days that one of them cuts.
    asked_from timestamptz;
    asked_until timestamptz;
    instants timestamptz[];
    cut_days tstzmultirange;
    open_windows tstzmultirange;
    closed_windows tstzmultirange;
    horizon timestamptz;
    -- Of periods in another zone than UTC: where the user grain can't say who was active in a part of a month.
    unsettled tstzmultirange := '{}';
    test_companies text[];
BEGIN
    SELECT
        CASE WHEN bool_and(p.company_id IS NOT NULL) THEN array_agg(DISTINCT p.company_id) END,
        bool_or(p.company_id IS NULL),
        min(analytics_previous_start(p.period_start, p.period_end, p.time_zone)), max(p.period_end)
    INTO companies, asked_all, asked_from, asked_until
    FROM unnest(p_periods) AS p;
    IF asked_until IS NULL THEN
        RETURN;
    END IF;
    SELECT
        array_agg(DISTINCT t.instant ORDER BY t.instant),
        coalesce(
            range_agg(tstzrange(analytics_floor('day', t.instant), analytics_ceil('day', t.instant)))
                FILTER (WHERE t.instant <> analytics_floor('day', t.instant)),
            '{}'
        )
    INTO instants, cut_days
    FROM unnest(p_periods) AS p
    CROSS JOIN LATERAL (VALUES (p.period_start), (p.period_end)) AS t (instant);
    open_windows := analytics_open_windows('analytics_users', asked_until);
    IF p_with_activity THEN
        horizon := analytics_events_from();
        closed_windows := (SELECT c.windows FROM analytics_closed_windows AS c WHERE c.relation = 'analytics_users');
        IF EXISTS (SELECT FROM unnest(p_periods) AS p WHERE p.time_zone <> 'UTC') THEN
            unsettled := analytics_unsettled_months(companies, asked_from, asked_until, horizon);
        END IF;
    END IF;
    IF asked_all THEN
        test_companies := analytics_test_companies();
    END IF;

    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT
            p.place, p.company_id IS NULL AS is_all, coalesce(p.company_id, '') AS company,
            analytics_previous_start(p.period_start, p.period_end, p.time_zone) AS period_before,
            p.period_start, p.period_end, coalesce(p.time_zone, 'UTC') AS time_zone
        FROM unnest(p_periods) WITH ORDINALITY AS p (company_id, period_start, period_end, currency, time_zone, place)
    ),
    -- What the tables of users have not taken in yet, with what they hold of the same users.
    open_part AS MATERIALIZED (
        SELECT * FROM analytics_open_users(companies, open_windows)
    ),
    open_user AS MATERIALIZED (
        SELECT o.company_id, o.user_id, o.first_seen, u.first_seen AS known_since
        FROM (
            SELECT s.company_id, s.user_id, min(s.first_seen) AS first_seen
            FROM open_part AS s
            GROUP BY s.company_id, s.user_id
        ) AS o
        LEFT JOIN analytics_users AS u ON u.company_id = o.company_id AND u.user_id = o.user_id
    ),
    open_deletion AS MATERIALIZED (
        SELECT d.company_id, d.user_id, d.deleted_at, min(d.returned_at) AS returned_at, bool_or(d.is_stored) AS is_stored
        FROM (
            SELECT s.company_id, s.user_id, s.deleted_at, s.returned_at, true AS is_stored
            FROM open_user AS o
            JOIN analytics_user_deletions AS s ON s.company_id = o.company_id AND s.user_id = o.user_id
            UNION ALL
            SELECT o.company_id, o.user_id, deleted_at, NULL, false
            FROM open_part AS o
            CROSS JOIN LATERAL unnest(o.deletions) AS deleted_at
        ) AS d
        GROUP BY d.company_id, d.user_id, d.deleted_at
    ),
    -- Returns from deletions that are taken in are known but for open windows, those from others are not at all.
    seen_again AS MATERIALIZED (
        SELECT r.company_id, r.user_id, r.deleted_at, min(r.returned_at) AS returned_at
        FROM analytics_returns(
            ARRAY(SELECT d.company_id FROM open_deletion AS d ORDER BY d.company_id, d.user_id, d.deleted_at),
            ARRAY(SELECT d.user_id FROM open_deletion AS d ORDER BY d.company_id, d.user_id, d.deleted_at),
            ARRAY(SELECT d.deleted_at FROM open_deletion AS d ORDER BY d.company_id, d.user_id, d.deleted_at),
            open_windows + coalesce(
                (SELECT tstzmultirange(tstzrange(min(d.deleted_at), asked_until))
                   FROM open_deletion AS d WHERE NOT d.is_stored HAVING count(*) > 0),
                '{}'
            )
        ) AS r
        GROUP BY r.company_id, r.user_id, r.deleted_at
    ),
    -- Of these users, from when to when they are deleted: as it is stored (-1), and as it is (1), for which nobody looks
    -- beyond the last period.
    open_absence AS MATERIALIZED (
        SELECT a.counts, a.company_id, a.user_id, min(a.deleted_at) AS deleted_at, a.returned_at
        FROM (
            SELECT
                1 AS counts, d.company_id, d.user_id, d.deleted_at,
                CASE
                    WHEN least(d.returned_at, r.returned_at) < asked_until THEN least(d.returned_at, r.returned_at)
                END AS returned_at
            FROM open_deletion AS d
            LEFT JOIN seen_again AS r
                ON r.company_id = d.company_id AND r.user_id = d.user_id AND r.deleted_at = d.deleted_at
            UNION ALL
            SELECT -1, d.company_id, d.user_id, d.deleted_at, d.returned_at FROM open_deletion AS d WHERE d.is_stored
        ) AS a
        GROUP BY a.counts, a.company_id, a.user_id, a.returned_at
    ),
    -- Who was deleted in one of the periods or the one before it, or came back.
    absence AS MATERIALIZED (
        SELECT a.company_id, a.user_id, a.deleted_at, a.returned_at
        FROM open_absence AS a
        WHERE a.counts = 1
        UNION ALL
        SELECT s.company_id, s.user_id, s.deleted_at, s.returned_at
        FROM (
            SELECT DISTINCT
                d.company_id, d.user_id, d.returned_at,
                (SELECT min(f.deleted_at) FROM analytics_user_deletions AS f
                  WHERE f.company_id = d.company_id AND f.user_id = d.user_id
                    AND f.returned_at IS NOT DISTINCT FROM d.returned_at) AS deleted_at
            FROM analytics_user_deletions AS d
            WHERE (d.deleted_at >= asked_from AND d.deleted_at < asked_until
                   OR d.returned_at >= asked_from AND d.returned_at < asked_until)
              AND (companies IS NULL OR d.company_id = ANY (companies))
        ) AS s
        WHERE NOT EXISTS (
            SELECT FROM open_absence AS a WHERE a.company_id = s.company_id AND a.user_id = s.user_id
        )
    ),
    -- What changes how many users there are, by how many of the instants it comes at or after: it counts for the others.
    -- Whole days are counted already; of days in which one of the instants lies each change is.
    change AS MATERIALIZED (
        SELECT
            c.company_id, c.instants_before,
            sum(c.first_seen)::bigint AS first_seen, sum(c.deleted)::bigint AS deleted,
            sum(c.returned)::bigint AS returned
        FROM (
            SELECT
                d.company_id, width_bucket(d.day, instants) AS instants_before, d.first_seen, d.deleted, d.returned
            FROM analytics_user_days AS d
            WHERE d.day < asked_until
              AND NOT cut_days @> d.day
              AND (companies IS NULL OR d.company_id = ANY (companies))
            UNION ALL
            SELECT s.company_id, width_bucket(s.instant, instants), s.first_seen, s.deleted, s.returned
            FROM (
                SELECT u.company_id, u.first_seen AS instant, 1 AS first_seen, 0 AS deleted, 0 AS returned
                FROM unnest(cut_days) AS r
                JOIN analytics_users AS u ON u.first_seen >= lower(r) AND u.first_seen < upper(r)
                WHERE companies IS NULL OR u.company_id = ANY (companies)
                UNION ALL
                SELECT d.company_id, d.deleted_at, 0, 1, 0
                FROM unnest(cut_days) AS r
                JOIN analytics_user_deletions AS d ON d.deleted_at >= lower(r) AND d.deleted_at < upper(r)
                WHERE (companies IS NULL OR d.company_id = ANY (companies))
                  AND NOT EXISTS (
                      SELECT FROM analytics_user_deletions AS f
                      WHERE f.company_id = d.company_id AND f.user_id = d.user_id AND f.deleted_at < d.deleted_at
                        AND f.returned_at IS NOT DISTINCT FROM d.returned_at
                  )
                UNION ALL
                (
                    SELECT DISTINCT ON (d.company_id, d.user_id, d.returned_at) d.company_id, d.returned_at, 0, 0, 1
                    FROM unnest(cut_days) AS r
                    JOIN analytics_user_deletions AS d ON d.returned_at >= lower(r) AND d.returned_at < upper(r)
                    WHERE companies IS NULL OR d.company_id = ANY (companies)
                )
                UNION ALL
                SELECT o.company_id, v.instant, v.counts, 0, 0
                FROM open_user AS o
                CROSS JOIN LATERAL (VALUES (o.first_seen, 1), (o.known_since, -1)) AS v (instant, counts)
                WHERE (o.known_since IS NULL OR o.first_seen < o.known_since) AND v.instant IS NOT NULL
                UNION ALL
                SELECT a.company_id, v.instant, 0, v.deleted, v.returned
                FROM open_absence AS a
                CROSS JOIN LATERAL (
                    VALUES (a.deleted_at, a.counts, 0), (a.returned_at, 0, a.counts)
                ) AS v (instant, deleted, returned)
                WHERE v.instant IS NOT NULL
            ) AS s
        ) AS c
        GROUP BY c.company_id, c.instants_before
    ),
    running AS (
        SELECT
            s.place, s.is_end, sum(s.first_seen) OVER before AS first_seen, sum(s.deleted) OVER before AS deleted,
            sum(s.returned) OVER before AS returned
        FROM (
            SELECT
                a.is_all, a.company, a.place, v.is_end, width_bucket(v.instant, instants) AS position,
                false AS is_change, 0 AS first_seen, 0 AS deleted, 0 AS returned
            FROM asked AS a
            CROSS JOIN LATERAL (VALUES (a.period_start, false), (a.period_end, true)) AS v (instant, is_end)
            UNION ALL
            SELECT false, c.company_id, NULL, NULL, c.instants_before, true, c.first_seen, c.deleted, c.returned
            FROM change AS c
            UNION ALL
            SELECT
                true, '', NULL, NULL, c.instants_before, true, sum(c.first_seen), sum(c.deleted), sum(c.returned)
            FROM change AS c
            WHERE asked_all AND c.company_id <> ALL (test_companies)
            GROUP BY c.instants_before
        ) AS s
        WINDOW before AS (PARTITION BY s.is_all, s.company ORDER BY s.position, s.is_change)
    ),
    counted AS MATERIALIZED (
        SELECT
            r.place,
            max(r.first_seen) FILTER (WHERE r.is_end) AS seen_users,
            max(r.first_seen) FILTER (WHERE r.is_end) - max(r.first_seen) FILTER (WHERE NOT r.is_end) AS new_users,
            max(r.first_seen - r.deleted + r.returned) FILTER (WHERE NOT r.is_end) AS users_at_start
        FROM running AS r
        WHERE r.place IS NOT NULL
        GROUP BY r.place
    ),
    span AS MATERIALIZED (
        SELECT
            d.*, analytics_whole_months(d.period_before, d.period_start, d.time_zone) AS months_before,
            analytics_whole_months(d.period_start, d.period_end, d.time_zone) AS months
        FROM (
            SELECT DISTINCT b.time_zone, b.period_before, b.period_start, b.period_end FROM asked AS b
            WHERE p_with_activity
        ) AS d
    ),
    -- Months are read by themselves, and so is each period with whole months and more; all others share their bounds.
    -- Companies are asked for alike: a line is a period of all of them.
    line AS MATERIALIZED (
        SELECT
            s.*,
            dense_rank() OVER (
                ORDER BY s.kind, CASE WHEN s.kind <> 2 THEN s.time_zone END,
                CASE WHEN s.kind = 3 THEN s.period_start END, CASE WHEN s.kind = 3 THEN s.period_end END
            ) AS timeline
        FROM (
            SELECT
                m.*,
                CASE
                    WHEN m.months = tstzmultirange(tstzrange(m.period_start, m.period_end)) THEN 1
                    WHEN isempty(m.months_before) AND isempty(m.months) THEN 2
                    ELSE 3
                END AS kind
            FROM span AS m
        ) AS s
    ),
    stretch AS (
        SELECT DISTINCT l.timeline, s.stretch_start, s.stretch_end, s.months
        FROM line AS l
        CROSS JOIN LATERAL (
            VALUES (l.period_before, l.period_start, l.months_before), (l.period_start, l.period_end, l.months)
        ) AS s (stretch_start, stretch_end, months)
    ),
    timeline AS MATERIALIZED (
        SELECT r.timeline, b.bounds, r.months, r.span - r.months AS others
        FROM (
            SELECT
                s.timeline, range_agg(tstzrange(s.stretch_start, s.stretch_end)) AS span, range_agg(s.months) AS months
            FROM stretch AS s
            GROUP BY s.timeline
        ) AS r
        JOIN (
            SELECT s.timeline, array_agg(DISTINCT v.bound ORDER BY v.bound) AS bounds
            FROM stretch AS s
            CROSS JOIN LATERAL (
                VALUES (s.stretch_start), (s.stretch_end), (lower(s.months)), (upper(s.months))
            ) AS v (bound)
            WHERE v.bound IS NOT NULL
            GROUP BY s.timeline
        ) AS b ON b.timeline = r.timeline
    ),
    active_part AS MATERIALIZED (
        SELECT t.timeline, a.*
        FROM timeline AS t
        CROSS JOIN LATERAL analytics_active_slots(companies, t.bounds, t.months, t.others, unsettled, horizon) AS a
    ),
    activity AS MATERIALIZED (
        SELECT
            s.timeline, (SELECT t.bounds FROM timeline AS t WHERE t.timeline = s.timeline) AS bounds,
            s.company_id, s.user_id, s.slots, least(s.first_seen, o.first_seen) AS first_seen,
            CASE WHEN o.user_id IS NULL THEN d.deletions END AS deletions,
            CASE WHEN o.user_id IS NULL THEN d.returns END AS returns
        FROM (
            SELECT a.timeline, a.company_id, a.user_id, bit_or(a.slots) AS slots, min(a.first_seen) AS first_seen
            FROM active_part AS a
            GROUP BY a.timeline, a.company_id, a.user_id
        ) AS s
        LEFT JOIN (
            SELECT
                a.timeline, a.company_id, a.user_id,
                array_agg(a.deleted_at) AS deletions, array_agg(coalesce(a.returned_at, 'infinity')) AS returns
            FROM active_part AS a
            WHERE a.deleted_at IS NOT NULL
            GROUP BY a.timeline, a.company_id, a.user_id
        ) AS d ON d.timeline = s.timeline AND d.company_id = s.company_id AND d.user_id = s.user_id
        LEFT JOIN open_user AS o ON o.company_id = s.company_id AND o.user_id = s.user_id
    ),
    -- Users only, and while they are: of a month that waits to be closed again after events were removed, the aggregate
    -- still names whoever had them, and users are settled by the day.
    person AS MATERIALIZED (
        SELECT
            u.timeline, u.company_id, u.user_id,
            ARRAY(
                SELECT n
                FROM generate_series(
                    greatest(width_bucket(u.first_seen, u.bounds) - 1, 0), cardinality(u.bounds) - 2
                ) AS n
                WHERE get_bit(u.slots, n) = 1
                  AND (u.deletions IS NULL OR NOT EXISTS (
                      SELECT
                      FROM unnest(u.deletions, u.returns) AS d (deleted_at, returned_at)
                      WHERE d.deleted_at < u.bounds[n + 1] AND d.returned_at >= u.bounds[n + 2]
                  ))
            ) AS slots
        FROM activity AS u
        WHERE u.first_seen IS NOT NULL
    ),
    -- How many users were active in one slot and not again before another: whether somebody was active between two
    -- bounds follows from the first time after the one, and who lapsed by the last time before the other.
    pair AS MATERIALIZED (
        SELECT
            s.timeline, s.company_id, s.last_slot, s.next_slot,
            count(*) AS users, bit_xor(hashtextextended(s.user_id, 0)) AS fingerprint
        FROM (
            SELECT
                p.timeline, p.company_id, p.user_id,
                coalesce(p.slots[n - 1], -1) AS last_slot, coalesce(p.slots[n], 2147483647) AS next_slot
            FROM person AS p
            CROSS JOIN LATERAL generate_series(1, cardinality(p.slots) + 1) AS n
        ) AS s
        GROUP BY s.timeline, s.company_id, s.last_slot, s.next_slot
    ),
    keyed_pair AS MATERIALIZED (
        SELECT false AS is_all, p.timeline, p.company_id AS company, p.last_slot, p.next_slot, p.users, p.fingerprint
        FROM pair AS p
        UNION ALL
        SELECT true, p.timeline, '', p.last_slot, p.next_slot, sum(p.users), bit_xor(p.fingerprint)
        FROM pair AS p
        WHERE asked_all AND p.company_id <> ALL (test_companies)
        GROUP BY p.timeline, p.last_slot, p.next_slot
    ),
    slotted AS MATERIALIZED (
        SELECT
            a.place, a.is_all, a.company, l.timeline,
            width_bucket(l.period_before, t.bounds) - 1 AS first_before,
            width_bucket(l.period_start, t.bounds) - 1 AS first_slot,
            width_bucket(l.period_end, t.bounds) - 1 AS end_slot
        FROM line AS l
        JOIN timeline AS t ON t.timeline = l.timeline
        JOIN asked AS a
            ON a.time_zone = l.time_zone AND a.period_start = l.period_start AND a.period_end = l.period_end
    ),
    -- By themselves, so that pairs are looked up by the slot, too.
    visited AS MATERIALIZED (
        SELECT s.*, n AS slot, n >= s.first_slot AS is_now
        FROM slotted AS s
        CROSS JOIN LATERAL generate_series(s.first_before, s.end_slot - 1) AS n
    ),
    active AS MATERIALIZED (
        SELECT
            v.place,
            sum(p.users) FILTER (WHERE p.is_next AND v.is_now AND p.other < v.first_slot) AS active_users,
            bit_xor(p.fingerprint) FILTER (WHERE p.is_next AND v.is_now AND p.other < v.first_slot) AS fingerprint,
            sum(p.users) FILTER (WHERE p.is_next AND NOT v.is_now AND p.other < v.first_before) AS active_before,
            sum(p.users) FILTER (WHERE NOT p.is_next AND NOT v.is_now AND p.other >= v.end_slot) AS lapsed
        FROM visited AS v
        JOIN (
            SELECT k.timeline, k.is_all, k.company, k.next_slot AS slot, k.last_slot AS other, true AS is_next, k.users,
                   k.fingerprint
            FROM keyed_pair AS k
            UNION ALL
            SELECT k.timeline, k.is_all, k.company, k.last_slot, k.next_slot, false, k.users, k.fingerprint
            FROM keyed_pair AS k
        ) AS p ON p.timeline = v.timeline AND p.is_all = v.is_all AND p.company = v.company AND p.slot = v.slot
        GROUP BY v.place
    ),
    -- What deletions change: whoever came back was a user of the period; whoever was deleted in it, and is not back, has
    -- churned, active or not; and whoever was deleted before it, and is not back, has churned then.
    moved AS MATERIALIZED (
        SELECT
            m.place,
            count(*) FILTER (WHERE m.deleted_at < m.period_start AND NOT m.is_away) AS came_back,
            count(*) FILTER (WHERE m.is_away AND m.is_deleted_now AND NOT m.has_lapsed) AS churned_too,
            count(*) FILTER (WHERE m.is_away AND m.is_deleted_now AND NOT m.has_lapsed AND m.was_active)
                AS churned_of_start_too,
            count(*) FILTER (WHERE m.is_away AND NOT m.is_deleted_now AND m.has_lapsed) AS churned_before
        FROM (
            SELECT
                s.place, s.period_start, s.deleted_at, s.is_away,
                s.deleted_at >= s.period_start AS is_deleted_now,
                s.was_active, s.was_active AND NOT s.is_active AS has_lapsed
            FROM (
                SELECT
                    a.place, a.period_start, k.deleted_at,
                    coalesce(k.returned_at, 'infinity') >= a.period_end AS is_away,
                    coalesce(
                        (SELECT bool_or(n >= l.first_before AND n < l.first_slot) FROM unnest(p.slots) AS n), false
                    ) AS was_active,
                    coalesce(
                        (SELECT bool_or(n >= l.first_slot AND n < l.end_slot) FROM unnest(p.slots) AS n), false
                    ) AS is_active
                FROM asked AS a
                JOIN (
                    SELECT v.is_all, v.company, b.*
                    FROM absence AS b
                    CROSS JOIN LATERAL (VALUES (false, b.company_id), (true, '')) AS v (is_all, company)
                    WHERE NOT v.is_all OR b.company_id <> ALL (test_companies)
                ) AS k ON k.is_all = a.is_all AND k.company = a.company
                LEFT JOIN slotted AS l ON l.place = a.place
                LEFT JOIN person AS p
                    ON p.timeline = l.timeline AND p.company_id = k.company_id AND p.user_id = k.user_id
                WHERE (k.deleted_at < a.period_start AND k.returned_at >= a.period_start
                       AND k.returned_at < a.period_end)
                   OR (p_with_activity AND k.deleted_at >= a.period_before AND k.deleted_at < a.period_end
                       AND coalesce(k.returned_at, 'infinity') >= a.period_end)
            ) AS s
        ) AS m
        GROUP BY m.place
    )
    SELECT
        a.place,
        c.seen_users::bigint,
        (c.users_at_start + c.new_users + coalesce(m.came_back, 0))::bigint,
        CASE WHEN k.active THEN coalesce(n.active_users, 0)::bigint END,
        CASE WHEN k.new THEN c.new_users::bigint END,
        CASE WHEN k.active AND k.before
             THEN (coalesce(n.lapsed, 0) + coalesce(m.churned_too - m.churned_before, 0))::bigint END,
        c.users_at_start::bigint,
        CASE WHEN k.before THEN coalesce(n.active_before, 0)::bigint END,
        CASE WHEN k.active AND k.before
             THEN (coalesce(n.lapsed, 0) + coalesce(m.churned_of_start_too - m.churned_before, 0))::bigint END,
        coalesce(n.fingerprint, 0)
    FROM asked AS a
    JOIN counted AS c ON c.place = a.place
    LEFT JOIN active AS n ON n.place = a.place
    LEFT JOIN moved AS m ON m.place = a.place
    CROSS JOIN LATERAL (SELECT CASE WHEN a.time_zone <> 'UTC' THEN unsettled END) AS i (unsettled)
    CROSS JOIN LATERAL (
        SELECT
            analytics_users_are_kept(a.period_start, a.period_end, horizon, closed_windows) AS new,
            analytics_activity_is_kept(
                a.period_start, a.period_end, horizon, closed_windows, a.time_zone, i.unsettled
            ) AS active,
            analytics_activity_is_kept(
                a.period_before, a.period_start, horizon, closed_windows, a.time_zone, i.unsettled
            ) AS before
    ) AS k;
END
$$;

COMMENT ON FUNCTION analytics_user_bases IS
    'What user figures are made of, a row for each period asked for, by its place; without activity only what users there '
    'were, and what stands on who was active is to be ignored.';

CREATE OR REPLACE FUNCTION analytics_user_figures(p_periods analytics_figure_period[])
RETURNS TABLE (
    place bigint, seen_users bigint, total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint, active_fingerprint bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        b.place, b.seen_users, b.total_users, b.active_users, b.new_users, b.churned_users, b.users_at_start,
        b.active_before, b.churned_of_start, b.active_fingerprint
    FROM analytics_user_bases(p_periods, true) AS b
$$;

COMMENT ON FUNCTION analytics_user_figures IS
    'User figures, a row for each period asked for, by its place: counts only, null where events they need have expired; '
    'seen_users: first seen before the period''s end, deleted ones too.';

CREATE OR REPLACE FUNCTION analytics_total_user_figures(p_periods analytics_figure_period[])
RETURNS TABLE (place bigint, total_users bigint)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT b.place, b.total_users FROM analytics_user_bases(p_periods, false) AS b
$$;

COMMENT ON FUNCTION analytics_total_user_figures IS
    'Users first seen before a period''s end and not deleted before its start, or back since, a row for each period asked '
    'for, by its place.';

CREATE OR REPLACE FUNCTION analytics_user_companies(p_until timestamptz)
RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT ARRAY(
        SELECT d.company_id
        FROM analytics_user_days AS d
        UNION
        SELECT o.company_id
        FROM analytics_open_users(NULL, analytics_open_windows('analytics_users', p_until)) AS o
    )
$$;

COMMENT ON FUNCTION analytics_user_companies IS
    'Every company that can have had a user before an instant.';

CREATE OR REPLACE FUNCTION analytics_user_rates(
    p_total_users numeric, p_active_users numeric, p_churned_users numeric, p_active_before numeric,
    p_churned_of_start numeric
)
RETURNS TABLE (churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT
        analytics_percentage(p_churned_users, p_total_users),
        analytics_percentage(p_active_users, p_total_users),
        analytics_percentage(p_churned_of_start, p_active_before)
$$;

COMMENT ON FUNCTION analytics_user_rates IS
    'The rates of users in per cent, unrounded, by the counts that they are made of; null without a base.';

CREATE OR REPLACE FUNCTION analytics_percentage(p_part numeric, p_whole numeric)
RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT CASE WHEN p_whole > 0 THEN analytics_fraction(100 * p_part, 1, p_whole) END
$$;

COMMENT ON FUNCTION analytics_percentage IS
    'p_part as a percentage of p_whole; null unless p_whole is above zero.';

CREATE OR REPLACE FUNCTION analytics_user_answers(p_periods analytics_figure_period[])
RETURNS TABLE (
    place bigint, company_id text, period_start timestamptz, period_end timestamptz, seen_users bigint,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric, active_fingerprint bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        f.place, p.company_id, p.period_start, p.period_end, f.seen_users,
        f.total_users, f.active_users, f.new_users, f.churned_users,
        f.users_at_start, f.active_before, f.churned_of_start,
        r.churn_rate, r.active_user_rate, r.churn_rate_of_start, f.active_fingerprint
    FROM analytics_user_figures(p_periods) AS f
    JOIN unnest(p_periods) WITH ORDINALITY AS p (company_id, period_start, period_end, currency, time_zone, place)
        ON p.place = f.place
    CROSS JOIN LATERAL analytics_user_rates(
        f.total_users, f.active_users, f.churned_users, f.active_before, f.churned_of_start
    ) AS r
$$;

COMMENT ON FUNCTION analytics_user_answers IS
    'User figures with their rates, a row for each period asked for, beside what it was asked for.';
