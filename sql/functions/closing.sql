-- Taking the events of closed windows into the tables that outlive them, and noting what that changes.

-- There are two locks, both held to the end of a transaction, and taken in this order by whoever wants both.
-- That of events: shared by what takes events into a table, alone for whoever notes that events have changed, or changes
-- such tables otherwise. That of changes: alone for whoever notes a change of what figures stand on, from before it has a
-- number, and shared by whoever computes figures: so the figures of a partition have seen every change up to a number,
-- or not.
CREATE OR REPLACE FUNCTION analytics_lock_changes(p_shared boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_shared THEN
        PERFORM pg_advisory_xact_lock_shared(7261940002);
    ELSE
        PERFORM pg_advisory_xact_lock(7261940003);
        PERFORM pg_advisory_xact_lock(7261940002);
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_lock_changes IS
    'Takes the lock of analytics_metric_changes to the end of the transaction: shared to compute, else to change what figures stand on, for which it takes that of events, too.';

-- For whoever works long before it notes what has changed, last of all: what computes figures meanwhile sees nothing of it
-- yet, and need not wait.
CREATE OR REPLACE FUNCTION analytics_lock_noting()
RETURNS void
LANGUAGE sql VOLATILE
AS $$
    SELECT pg_advisory_xact_lock(7261940002)
$$;

COMMENT ON FUNCTION analytics_lock_noting IS
    'Takes the lock of analytics_metric_changes alone to the end of the transaction, to note a change there.';

CREATE OR REPLACE FUNCTION analytics_lock_events(p_relation text)
RETURNS void
LANGUAGE sql VOLATILE
AS $$
    SELECT
        -- What the release before this one has begun, and a migration finds under way, holds the lock of changes alone,
        -- from the beginning: it is waited for, and nothing else.
        pg_advisory_lock_shared(7261940002),
        pg_advisory_unlock_shared(7261940002),
        pg_advisory_xact_lock_shared(7261940003),
        -- Two that take events into one table take turns.
        pg_advisory_xact_lock(7261940, hashtext(p_relation))
$$;

COMMENT ON FUNCTION analytics_lock_events IS
    'Takes the lock of events to the end of the transaction, to take events into a table.';

CREATE OR REPLACE FUNCTION analytics_note_closed(p_relation text, p_start timestamptz, p_end timestamptz)
RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO analytics_closed_windows AS c (relation, windows)
    VALUES (p_relation, tstzmultirange(tstzrange(p_start, p_end)))
    ON CONFLICT (relation) DO UPDATE
        SET windows = c.windows + excluded.windows, changed = c.changed - excluded.windows
    WHERE NOT c.windows @> excluded.windows OR c.changed && excluded.windows
$$;

COMMENT ON FUNCTION analytics_note_closed IS
    'Notes that a table has taken in the events of a half-open window.';

-- Under the lock: a table that is reading these events has noted that it took them in before, or reads them after.
CREATE OR REPLACE FUNCTION analytics_note_changed_events(p_start timestamptz, p_end timestamptz)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM analytics_lock_changes(false);
    UPDATE analytics_closed_windows AS c
    SET changed = c.changed + c.windows * tstzmultirange(tstzrange(p_start, p_end))
    WHERE NOT c.changed @> (c.windows * tstzmultirange(tstzrange(p_start, p_end)));
END
$$;

COMMENT ON FUNCTION analytics_note_changed_events IS
    'Notes that events of a half-open window may have changed since users and subscriptions have taken them in.';

-- What the tables hold of the window is then what its events say now: repeating it, in any order of windows, gives
-- the same tables, and an event that was removed counts as never recorded. What is known only from behind the
-- retention horizon stays.
CREATE OR REPLACE FUNCTION analytics_close_users(p_start timestamptz, p_end timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
-- The users of the window are looked up among all there are, rather than all of them read.
SET random_page_cost = 1.1
AS $$
DECLARE
    events_from timestamptz;
    -- Closed event time after the window: where what follows on an event of the window that was removed is found.
    later tstzmultirange;
    changed bigint;
BEGIN
    PERFORM analytics_lock_events('analytics_users');
    events_from := greatest(p_start, analytics_events_from());
    later := tstzmultirange(tstzrange(p_end, NULL)) * coalesce(
        (SELECT c.windows FROM analytics_closed_windows AS c WHERE c.relation = 'analytics_users'), '{}'
    );

    CREATE TEMP TABLE seen ON COMMIT DROP AS
    SELECT
        e.company_id, e.user_id, min(e."timestamp") AS first_seen,
        array_agg(DISTINCT e."timestamp") FILTER (WHERE e.event_type = 'user.deleted') AS deletions
    FROM analytics_events AS e
    WHERE e."timestamp" >= p_start AND e."timestamp" < p_end AND e.user_id IS NOT NULL
    GROUP BY e.company_id, e.user_id;

    CREATE TEMP TABLE changed_users ON COMMIT DROP AS
    SELECT c.company_id, c.user_id, c.known_since, c.first_seen
    FROM (
        SELECT
            s.company_id, s.user_id, u.first_seen AS known_since,
            CASE
                WHEN u.first_seen >= events_from AND u.first_seen < p_end THEN s.first_seen
                ELSE least(s.first_seen, u.first_seen)
            END AS first_seen
        FROM seen AS s
        LEFT JOIN analytics_users AS u ON u.company_id = s.company_id AND u.user_id = s.user_id
        UNION ALL
        SELECT u.company_id, u.user_id, u.first_seen, NULL
        FROM analytics_users AS u
        WHERE u.first_seen >= events_from AND u.first_seen < p_end
          AND NOT EXISTS (SELECT FROM seen AS s WHERE s.company_id = u.company_id AND s.user_id = u.user_id)
    ) AS c
    WHERE c.first_seen IS DISTINCT FROM c.known_since;

    IF EXISTS (SELECT FROM changed_users AS c WHERE c.first_seen IS NULL) THEN
        UPDATE changed_users AS c
        SET first_seen = f.first_seen
        FROM (
            SELECT l.company_id, l.user_id, min(l.first_seen) AS first_seen
            FROM unnest(later) AS r
            CROSS JOIN LATERAL (
                SELECT e.company_id, e.user_id, min(e."timestamp") AS first_seen
                FROM analytics_events AS e
                JOIN changed_users AS g ON g.company_id = e.company_id AND g.user_id = e.user_id
                WHERE e."timestamp" >= lower(r) AND e."timestamp" < coalesce(upper(r), 'infinity')
                  AND g.first_seen IS NULL
                GROUP BY e.company_id, e.user_id
            ) AS l
            GROUP BY l.company_id, l.user_id
        ) AS f
        WHERE f.company_id = c.company_id AND f.user_id = c.user_id AND c.first_seen IS NULL;
    END IF;

    -- Each deletion that the window holds, or after which it may hold the next event: as it is stored, and as it is.
    CREATE TEMP TABLE settled_deletions ON COMMIT DROP AS
    SELECT
        coalesce(d.company_id, w.company_id) AS company_id,
        coalesce(d.user_id, w.user_id) AS user_id,
        coalesce(d.deleted_at, w.deleted_at) AS deleted_at,
        d.deleted_at IS NOT NULL AS was_stored,
        d.is_before_first IS NOT TRUE
            AND (w.deleted_at IS NOT NULL OR NOT (d.deleted_at >= events_from AND d.deleted_at < p_end)) AS is_known,
        d.returned_at AS known_return,
        CASE WHEN NOT (d.returned_at >= events_from AND d.returned_at < p_end) THEN d.returned_at END AS returned_at,
        -- A return that is not in the window is known, but of a deletion that is new.
        d.deleted_at IS NULL OR coalesce(d.returned_at >= events_from AND d.returned_at < p_end, false) AS is_open
    FROM (
        -- Before the first event that remains no event says that the user was deleted.
        SELECT s.*, c.user_id IS NOT NULL AS is_before_first
        FROM (
            SELECT n.*
            FROM analytics_user_deletions AS n
            WHERE (n.deleted_at >= p_start AND n.deleted_at < p_end)
               OR (n.returned_at >= p_start AND n.returned_at < p_end)
            UNION
            SELECT n.*
            FROM (
                SELECT w.company_id, w.user_id FROM seen AS w
                UNION
                SELECT g.company_id, g.user_id FROM changed_users AS g
            ) AS t
            JOIN analytics_user_deletions AS n ON n.company_id = t.company_id AND n.user_id = t.user_id
        ) AS s
        LEFT JOIN changed_users AS c
            ON c.company_id = s.company_id AND c.user_id = s.user_id
           AND coalesce(c.first_seen, 'infinity') > s.deleted_at
        WHERE c.user_id IS NOT NULL
           OR (s.deleted_at < p_end AND coalesce(s.returned_at, 'infinity') >= p_start)
    ) AS d
    FULL JOIN (
        SELECT s.company_id, s.user_id, deleted_at
        FROM seen AS s
        CROSS JOIN LATERAL unnest(s.deletions) AS deleted_at
    ) AS w ON w.company_id = d.company_id AND w.user_id = d.user_id AND w.deleted_at = d.deleted_at;

    UPDATE settled_deletions AS d
    SET returned_at = least(d.returned_at, f.returned_at), is_open = false
    FROM (
        SELECT g.company_id, g.user_id, g.deleted_at, min(e."timestamp") AS returned_at
        FROM settled_deletions AS g
        JOIN analytics_events AS e
            ON e.company_id = g.company_id AND e.user_id = g.user_id AND e."timestamp" > g.deleted_at
        WHERE e."timestamp" >= p_start AND e."timestamp" < p_end
          AND e.event_type <> 'user.deleted'
          AND g.is_known
        GROUP BY g.company_id, g.user_id, g.deleted_at
    ) AS f
    WHERE f.company_id = d.company_id AND f.user_id = d.user_id AND f.deleted_at = d.deleted_at;

    IF EXISTS (SELECT FROM settled_deletions AS d WHERE d.is_open AND d.is_known) THEN
        UPDATE settled_deletions AS d
        SET returned_at = f.returned_at
        FROM (
            SELECT l.company_id, l.user_id, l.deleted_at, min(l.returned_at) AS returned_at
            FROM unnest(later) AS r
            CROSS JOIN LATERAL (
                SELECT g.company_id, g.user_id, g.deleted_at, min(e."timestamp") AS returned_at
                FROM settled_deletions AS g
                JOIN analytics_events AS e ON e.company_id = g.company_id AND e.user_id = g.user_id
                WHERE e."timestamp" >= lower(r) AND e."timestamp" < coalesce(upper(r), 'infinity')
                  AND e.event_type <> 'user.deleted'
                  AND g.is_open AND g.is_known
                GROUP BY g.company_id, g.user_id, g.deleted_at
            ) AS l
            GROUP BY l.company_id, l.user_id, l.deleted_at
        ) AS f
        WHERE f.company_id = d.company_id AND f.user_id = d.user_id AND f.deleted_at = d.deleted_at AND d.is_open;
    END IF;
    DELETE FROM settled_deletions AS d
    WHERE d.was_stored AND d.is_known AND d.returned_at IS NOT DISTINCT FROM d.known_return;

    -- Known from earlier or later on than before concerns the periods between, for the first time or no more all
    -- later ones; a deletion or a return those in which the user is deleted now and was not before, or was and is not.
    CREATE TEMP TABLE concerned ON COMMIT DROP AS
    SELECT
        c.company_id, min(c.changed_from) AS changed_from,
        CASE WHEN bool_and(c.changed_until IS NOT NULL) THEN max(c.changed_until) END AS changed_until, c.cause
    FROM (
        SELECT
            f.company_id, least(f.first_seen, f.known_since) AS changed_from,
            CASE
                WHEN f.first_seen IS NOT NULL AND f.known_since IS NOT NULL THEN greatest(f.first_seen, f.known_since)
            END AS changed_until,
            'users first seen' AS cause
        FROM changed_users AS f
        UNION ALL
        SELECT g.company_id, lower(g.differing), upper(g.differing), 'users deleted or back'
        FROM (
            SELECT s.company_id, (s.was - s.is_now) + (s.is_now - s.was) AS differing
            FROM (
                SELECT
                    d.company_id, d.user_id,
                    coalesce(
                        range_agg(tstzrange(d.deleted_at, d.known_return, '()')) FILTER (WHERE d.was_stored), '{}'
                    ) AS was,
                    coalesce(
                        range_agg(tstzrange(d.deleted_at, d.returned_at, '()')) FILTER (WHERE d.is_known), '{}'
                    ) AS is_now
                FROM (
                    SELECT
                        c.company_id, c.user_id, c.deleted_at, c.was_stored, c.is_known, c.known_return, c.returned_at
                    FROM settled_deletions AS c
                    UNION ALL
                    -- What stays of the same users: within it a further deletion changes nothing.
                    SELECT u.company_id, u.user_id, u.deleted_at, true, true, u.returned_at, u.returned_at
                    FROM analytics_user_deletions AS u
                    WHERE EXISTS (
                            SELECT FROM settled_deletions AS c
                            WHERE c.company_id = u.company_id AND c.user_id = u.user_id
                        )
                      AND NOT EXISTS (
                            SELECT FROM settled_deletions AS c
                            WHERE c.company_id = u.company_id AND c.user_id = u.user_id
                              AND c.deleted_at = u.deleted_at
                        )
                ) AS d
                GROUP BY d.company_id, d.user_id
            ) AS s
        ) AS g
        WHERE NOT isempty(g.differing)
    ) AS c
    GROUP BY c.company_id, c.cause;

    DELETE FROM analytics_users AS u
    USING changed_users AS c
    WHERE u.company_id = c.company_id AND u.user_id = c.user_id AND c.first_seen IS NULL;
    INSERT INTO analytics_users AS u (company_id, user_id, first_seen)
    SELECT c.company_id, c.user_id, c.first_seen FROM changed_users AS c WHERE c.first_seen IS NOT NULL
    ON CONFLICT (company_id, user_id) DO UPDATE SET first_seen = excluded.first_seen;
    -- Away and anew: a statement that does both at once is not counted rightly (analytics_count_deletions).
    DELETE FROM analytics_user_deletions AS u
    USING settled_deletions AS d
    WHERE u.company_id = d.company_id AND u.user_id = d.user_id AND u.deleted_at = d.deleted_at;
    INSERT INTO analytics_user_deletions AS u (company_id, user_id, deleted_at, returned_at)
    SELECT d.company_id, d.user_id, d.deleted_at, d.returned_at FROM settled_deletions AS d WHERE d.is_known;

    SELECT (SELECT count(*) FROM changed_users) + (SELECT count(*) FROM settled_deletions) INTO changed;
    -- A history taken in at once is planned for rightly at once; the embedded server has no autovacuum.
    IF changed >= 500 THEN
        ANALYZE analytics_users;
        ANALYZE analytics_user_deletions;
        ANALYZE analytics_user_days;
    END IF;
    PERFORM analytics_note_closed('analytics_users', p_start, p_end);
    PERFORM analytics_lock_noting();
    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
    SELECT c.company_id, c.changed_from, c.changed_until, ARRAY['revenue_metrics', 'user_metrics'], c.cause
    FROM concerned AS c;
    DROP TABLE seen, changed_users, settled_deletions, concerned;
    RETURN changed;
END
$$;

COMMENT ON FUNCTION analytics_close_users IS
    'Takes the users and deletions of a half-open window into analytics_users and analytics_user_deletions and returns '
    'how many rows changed.';

CREATE OR REPLACE FUNCTION analytics_close_subscriptions(p_start timestamptz, p_end timestamptz)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    changed bigint;
    retaken timestamptz[];
BEGIN
    PERFORM analytics_lock_events('analytics_subscriptions');
    CREATE TEMP TABLE wanted ON COMMIT DROP AS
    SELECT *
    FROM analytics_relinked_subscriptions(NULL, tstzmultirange(tstzrange(p_start, p_end)));
    CREATE INDEX ON wanted (company_id, subscription_id, valid_from);
    ANALYZE wanted;

    CREATE TEMP TABLE differing ON COMMIT DROP AS
    SELECT
        coalesce(w.company_id, s.company_id) AS company_id,
        coalesce(w.subscription_id, s.subscription_id) AS subscription_id,
        coalesce(w.valid_from, s.valid_from) AS valid_from,
        analytics_row_changed_from(
            ROW(w.*)::analytics_subscriptions, ROW(s.*)::analytics_subscriptions
        ) AS changed_from,
        greatest(
            CASE WHEN w.company_id IS NOT NULL THEN coalesce(w.valid_to, 'infinity') END,
            CASE WHEN s.company_id IS NOT NULL THEN coalesce(s.valid_to, 'infinity') END
        ) AS changed_until,
        w.user_id AS user_now, s.user_id AS user_before
    FROM wanted AS w
    FULL JOIN (
        SELECT f.*
        FROM analytics_subscriptions AS f
        WHERE (f.valid_from >= p_start AND f.valid_from < p_end)
           OR EXISTS (
               SELECT FROM wanted AS t
               WHERE t.company_id = f.company_id AND t.subscription_id = f.subscription_id
           )
    ) AS s
        ON s.company_id = w.company_id AND s.subscription_id = w.subscription_id AND s.valid_from = w.valid_from
    WHERE w IS DISTINCT FROM s;

    -- Whoever has paid before comes back instead of being new, by another subscription too.
    CREATE TEMP TABLE payers ON COMMIT DROP AS
    SELECT p.company_id, p.user_id, analytics_first_paid(p.company_id, p.user_id) AS first_paid
    FROM (
        SELECT d.company_id, u.user_id
        FROM differing AS d
        CROSS JOIN LATERAL (VALUES (d.user_now), (d.user_before)) AS u (user_id)
        WHERE u.user_id IS NOT NULL
        GROUP BY d.company_id, u.user_id
    ) AS p;

    PERFORM set_config('analytics.keeps_mrr_snapshots', 'on', true);
    DELETE FROM analytics_subscriptions AS s
    USING differing AS d
    WHERE s.company_id = d.company_id AND s.subscription_id = d.subscription_id AND s.valid_from = d.valid_from;
    INSERT INTO analytics_subscriptions
    SELECT w.*
    FROM wanted AS w
    JOIN differing AS d
        ON d.company_id = w.company_id AND d.subscription_id = w.subscription_id AND d.valid_from = w.valid_from;
    PERFORM set_config('analytics.keeps_mrr_snapshots', '', true);
    -- Snapshots after the first change are taken again. A balance is of just before its instant. A long window has one for
    -- each month that begins in it: days are closed by the month.
    WITH stale AS (
        DELETE FROM analytics_mrr_snapshots AS s
        WHERE s.taken_at > (SELECT min(d.changed_from) FROM differing AS d)
        RETURNING s.taken_at
    )
    SELECT array_agg(t.taken_at ORDER BY t.taken_at) INTO retaken
    FROM (
        SELECT s.taken_at FROM stale AS s
        UNION
        SELECT n.taken_at
        FROM (
            SELECT p_end
            UNION
            SELECT m AT TIME ZONE 'UTC'
            FROM generate_series(
                analytics_ceil('month', p_start) AT TIME ZONE 'UTC', p_end AT TIME ZONE 'UTC', interval '1 month'
            ) AS m
        ) AS n (taken_at)
        WHERE NOT EXISTS (SELECT FROM analytics_mrr_snapshots AS k WHERE k.taken_at = n.taken_at)
    ) AS t;
    INSERT INTO analytics_mrr_snapshots (taken_at, company_id, currency, mrr, customers)
    SELECT retaken[b.instant], b.company_id, b.currency, b.mrr, b.customers
    FROM analytics_mrr_balances(retaken, NULL, '{}') AS b
    WHERE retaken IS NOT NULL;

    SELECT count(*) INTO changed FROM differing;
    IF changed >= 500 THEN
        ANALYZE analytics_subscriptions;
    END IF;
    CREATE TEMP TABLE concerned ON COMMIT DROP AS
    SELECT
        d.company_id, min(d.changed_from) AS changed_from, nullif(max(d.changed_until), 'infinity') AS changed_until,
        ARRAY['revenue_metrics', 'mrr_movements'] AS metrics, 'subscriptions' AS cause
    FROM differing AS d
    WHERE d.changed_from IS NOT NULL
    GROUP BY d.company_id
    UNION ALL
    SELECT
        p.company_id, min(least(p.first_paid, p.first_paid_now)),
        nullif(max(greatest(p.first_paid, p.first_paid_now)), 'infinity'), ARRAY['mrr_movements'], 'first payers'
    FROM (
        SELECT f.*, analytics_first_paid(f.company_id, f.user_id) AS first_paid_now FROM payers AS f
    ) AS p
    WHERE p.first_paid <> p.first_paid_now
    GROUP BY p.company_id;

    PERFORM analytics_note_closed('analytics_subscriptions', p_start, p_end);
    PERFORM analytics_lock_noting();
    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
    SELECT c.company_id, c.changed_from, c.changed_until, c.metrics, c.cause FROM concerned AS c;
    DROP TABLE wanted, differing, payers, concerned;
    RETURN changed;
END
$$;

COMMENT ON FUNCTION analytics_close_subscriptions IS
    'Takes the changes of a half-open window into analytics_subscriptions and returns how many rows changed.';

CREATE OR REPLACE FUNCTION analytics_first_paid(p_company text, p_user text)
RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(min(s.valid_from), 'infinity')
    FROM analytics_subscriptions AS s
    WHERE s.company_id = p_company AND s.user_id = p_user AND s.monthly_amount > 0
$$;

COMMENT ON FUNCTION analytics_first_paid IS
    'From when on a user has first had monthly recurring revenue in analytics_subscriptions; infinity: never.';

-- Asked under the lock, before anything is computed.
CREATE OR REPLACE FUNCTION analytics_newest_change()
RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(max(c.change_id), 0) FROM analytics_metric_changes AS c
$$;

COMMENT ON FUNCTION analytics_newest_change IS
    'The number of the newest change noted in analytics_metric_changes.';

-- Whoever has figures of a window, and maybe more: what users and subscriptions have not taken in yet is read from the
-- events, the rest is found without reading every row.
CREATE OR REPLACE FUNCTION analytics_companies_of(p_start timestamptz, p_end timestamptz)
RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    first_day timestamptz := analytics_floor('day', p_start);
    open_window tstzrange;
    companies text[];
BEGIN
    companies := ARRAY(
        WITH RECURSIVE users AS (
            SELECT min(u.company_id) AS company_id FROM analytics_users AS u
            UNION ALL
            SELECT (SELECT min(u.company_id) FROM analytics_users AS u WHERE u.company_id > f.company_id)
            FROM users AS f
            WHERE f.company_id IS NOT NULL
        ),
        subscriptions AS (
            SELECT min(s.company_id) AS company_id FROM analytics_subscriptions AS s
            UNION ALL
            SELECT (SELECT min(s.company_id) FROM analytics_subscriptions AS s WHERE s.company_id > f.company_id)
            FROM subscriptions AS f
            WHERE f.company_id IS NOT NULL
        )
        SELECT f.company_id FROM users AS f WHERE f.company_id IS NOT NULL
        UNION
        SELECT f.company_id FROM subscriptions AS f WHERE f.company_id IS NOT NULL
        UNION
        SELECT d.company_id FROM analytics_revenue_daily AS d WHERE d.bucket >= first_day AND d.bucket < p_end
        UNION
        SELECT d.company_id FROM analytics_billing_daily AS d WHERE d.bucket >= first_day AND d.bucket < p_end
    );
    FOR open_window IN
        SELECT unnest(
            analytics_open_windows('analytics_users', p_end) + analytics_open_windows('analytics_subscriptions', p_end)
            + analytics_unstored(
                'day', ARRAY['analytics_revenue_hourly', 'analytics_revenue_daily', 'analytics_billing_daily'],
                tstzmultirange(tstzrange(first_day, p_end))
            )
        )
    LOOP
        companies := companies || ARRAY(
            SELECT DISTINCT e.company_id
            FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(open_window), '-infinity') AND e."timestamp" < upper(open_window)
              AND e.company_id <> ALL (companies)
        );
    END LOOP;
    RETURN companies;
END
$$;

COMMENT ON FUNCTION analytics_companies_of IS
    'The companies with users or subscriptions before the end of a half-open window, or with revenue or invoices in it, and perhaps others.';

-- The closed windows of a table that is made of the events of each day and kept, without what can't be compared with
-- the events now: what has changed since it was taken in, by the stale ranges or by what refreshes have noted, and what
-- lies before the horizon (NULL: nothing does).
CREATE OR REPLACE FUNCTION analytics_comparable_windows(
    p_relation text, p_horizon timestamptz, p_stale_starts timestamptz[], p_stale_ends timestamptz[]
) RETURNS tstzmultirange
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(
        (
            SELECT
                c.windows
                - c.changed
                - tstzmultirange(tstzrange(NULL, coalesce(p_horizon, '-infinity')))
                - coalesce(
                    (SELECT range_agg(tstzrange(s.stale_start, s.stale_end))
                       FROM unnest(p_stale_starts, p_stale_ends) AS s (stale_start, stale_end)),
                    '{}'
                )
            FROM analytics_closed_windows AS c
            WHERE c.relation = p_relation
        ),
        '{}'
    )
$$;

COMMENT ON FUNCTION analytics_comparable_windows IS
    'Closed windows of users or subscriptions whose stored rows are to equal the events: neither changed nor expired.';
