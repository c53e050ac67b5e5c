-- Taking the events of closed windows into the tables that outlive them, and noting what that changes.

-- Whoever changes what figures stand on holds the lock alone, whoever computes figures shares it, both to
-- the end of their transaction: so the figures of a partition have seen every change up to a number, or not.
CREATE OR REPLACE FUNCTION analytics_lock_changes(p_shared boolean)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_shared THEN
        PERFORM pg_advisory_xact_lock_shared(7261940002);
    ELSE
        PERFORM pg_advisory_xact_lock(7261940002);
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_lock_changes IS
    'Takes the lock of analytics_metric_changes to the end of the transaction: shared to compute, else to change.';

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

CREATE OR REPLACE FUNCTION analytics_note_refresh(
    p_start timestamptz, p_end timestamptz, p_granularity text, p_relation text
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM analytics_lock_changes(false);
    -- What days changed concerns the months they are in as well.
    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, cause)
    VALUES (
        NULL, p_start, p_end - interval '1 microsecond', nullif(p_granularity, 'day'), 'events in ' || p_relation
    );
END
$$;

COMMENT ON FUNCTION analytics_note_refresh IS
    'Notes that a continuous aggregate of days or months was refreshed over a half-open window.';

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
    PERFORM analytics_lock_changes(false);
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
    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
    SELECT
        c.company_id, min(c.changed_from),
        CASE WHEN bool_and(c.changed_until IS NOT NULL) THEN max(c.changed_until) END,
        ARRAY['revenue_metrics', 'user_metrics'], c.cause
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
    DROP TABLE seen, changed_users, settled_deletions;
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
    PERFORM analytics_lock_changes(false);
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
        -- A row that only ends elsewhere than before is as it was up to the earlier of the two ends, and one that
        -- only names another event, one of the same instant, changes no figure.
        CASE
            WHEN (w.company_id, w.user_id, w.status, w.currency, w.monthly_amount, w.was_paid)
                IS DISTINCT FROM
                 (s.company_id, s.user_id, s.status, s.currency, s.monthly_amount, s.was_paid)
            THEN coalesce(w.valid_from, s.valid_from)
            WHEN w.valid_to IS DISTINCT FROM s.valid_to THEN least(w.valid_to, s.valid_to)
        END AS changed_from,
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

    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
    SELECT
        d.company_id, min(d.changed_from), nullif(max(d.changed_until), 'infinity'),
        ARRAY['revenue_metrics', 'mrr_movements'], 'subscriptions'
    FROM differing AS d
    WHERE d.changed_from IS NOT NULL
    GROUP BY d.company_id;

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
    -- Snapshots after the first change are taken again. A balance is of just before its instant.
    WITH stale AS (
        DELETE FROM analytics_mrr_snapshots AS s
        WHERE s.taken_at > (SELECT min(d.changed_from) FROM differing AS d)
        RETURNING s.taken_at
    )
    SELECT array_agg(t.taken_at ORDER BY t.taken_at) INTO retaken
    FROM (
        SELECT s.taken_at FROM stale AS s
        UNION
        SELECT p_end WHERE NOT EXISTS (SELECT FROM analytics_mrr_snapshots AS k WHERE k.taken_at = p_end)
    ) AS t;
    INSERT INTO analytics_mrr_snapshots (taken_at, company_id, currency, mrr, customers)
    SELECT retaken[b.instant], b.company_id, b.currency, b.mrr, b.customers
    FROM analytics_mrr_balances(retaken, NULL, '{}') AS b
    WHERE retaken IS NOT NULL;

    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, metrics, cause)
    SELECT
        p.company_id, min(least(p.first_paid, p.first_paid_now)),
        nullif(max(greatest(p.first_paid, p.first_paid_now)), 'infinity'), ARRAY['mrr_movements'], 'first payers'
    FROM (
        SELECT f.*, analytics_first_paid(f.company_id, f.user_id) AS first_paid_now FROM payers AS f
    ) AS p
    WHERE p.first_paid <> p.first_paid_now
    GROUP BY p.company_id;

    SELECT count(*) INTO changed FROM differing;
    IF changed >= 500 THEN
        ANALYZE analytics_subscriptions;
    END IF;
    PERFORM analytics_note_closed('analytics_subscriptions', p_start, p_end);
    DROP TABLE wanted, differing, payers;
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

-- The period before the first one counts for its growth.
CREATE OR REPLACE FUNCTION analytics_company_periods(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text
)
RETURNS analytics_figure_period[]
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        array_agg(ROW(c.company_id, p.period_start, p.period_end, p_currency, NULL)::analytics_figure_period), '{}'
    )
    FROM unnest(analytics_companies_of(
        analytics_previous_start(p_start, (SELECT min(f.period_end) FROM analytics_periods(p_granularity, p_start, p_end) AS f)),
        p_end
    )) AS c (company_id)
    CROSS JOIN analytics_periods(p_granularity, p_start, p_end) AS p
$$;

COMMENT ON FUNCTION analytics_company_periods IS
    'The days or months of a window, of each company that may have figures in it.';

-- What the metric tables must hold of a window. The columns are those of the tables, in their order, but computed_at.
CREATE OR REPLACE FUNCTION analytics_revenue_metrics_rows(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text, p_version integer
)
RETURNS TABLE (
    company_id text, granularity text, period_start timestamptz, period_end timestamptz, currency text,
    total_revenue numeric, previous_revenue numeric, revenue_growth numeric, invoiced numeric, refunds numeric,
    mrr numeric, arr numeric, paying_customers bigint, arpa numeric, total_users bigint,
    average_revenue_per_user numeric, unconverted jsonb, definitions_version integer
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        f.company_id, p_granularity, f.period_start, f.period_end, f.currency,
        f.total_revenue, f.previous_revenue, f.revenue_growth, f.invoiced, f.refunds,
        f.mrr, f.arr, f.paying_customers, f.arpa, f.total_users, f.average_revenue_per_user,
        f.unconverted, p_version
    FROM analytics_revenue_figures(analytics_company_periods(p_granularity, p_start, p_end, p_currency)) AS f
    WHERE NOT f.is_empty
$$;

COMMENT ON FUNCTION analytics_revenue_metrics_rows IS
    'What analytics_revenue_metrics must hold of the days or months of a window.';

-- The columns are those of the table.
CREATE OR REPLACE FUNCTION analytics_revenue_metrics_together(
    p_granularity text, p_start timestamptz, p_end timestamptz
)
RETURNS SETOF analytics_revenue_metrics
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        NULL, p_granularity, s.period_start, s.period_end, s.currency,
        s.total_revenue, s.previous_revenue, d.revenue_growth, s.invoiced, s.refunds,
        s.mrr, d.arr, s.paying_customers, d.arpa, s.total_users, d.average_revenue_per_user,
        s.unconverted, s.definitions_version, s.computed_at
    FROM (
        SELECT
            m.period_start, m.period_end, m.currency,
            sum(m.total_revenue) AS total_revenue, sum(m.previous_revenue) AS previous_revenue,
            sum(m.invoiced) AS invoiced, sum(m.refunds) AS refunds, sum(m.mrr) AS mrr,
            sum(m.paying_customers)::bigint AS paying_customers, sum(m.total_users)::bigint AS total_users,
            jsonb_path_query_array(jsonb_agg(m.unconverted), '$[*][*]') AS unconverted,
            min(m.definitions_version) AS definitions_version, min(m.computed_at) AS computed_at
        FROM analytics_revenue_metrics AS m
        WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
        GROUP BY m.period_start, m.period_end, m.currency
    ) AS s
    CROSS JOIN LATERAL analytics_derived_revenue(
        s.total_revenue, s.previous_revenue, s.mrr, s.paying_customers, s.total_users, s.unconverted
    ) AS d
$$;

COMMENT ON FUNCTION analytics_revenue_metrics_together IS
    'The closed days or months that begin in a half-open window, over all companies together (company_id is null).';

-- Users have no currency: the parameter is there because the three are called alike. A company has a row from the period
-- on in which its first user was seen.
CREATE OR REPLACE FUNCTION analytics_user_metrics_rows(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text, p_version integer
)
RETURNS TABLE (
    company_id text, granularity text, period_start timestamptz, period_end timestamptz,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric, active_fingerprint bigint,
    definitions_version integer
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        a.company_id, p_granularity, a.period_start, a.period_end,
        a.total_users, a.active_users, a.new_users, a.churned_users, a.users_at_start, a.active_before,
        a.churned_of_start, a.churn_rate, a.active_user_rate, a.churn_rate_of_start, a.active_fingerprint, p_version
    FROM analytics_user_answers((
        SELECT analytics_user_periods(
            array_agg(p.period_start ORDER BY p.period_start), array_agg(p.period_end ORDER BY p.period_start)
        )
        FROM analytics_periods(p_granularity, p_start, p_end) AS p
    )) AS a
    WHERE a.seen_users > 0
$$;

COMMENT ON FUNCTION analytics_user_metrics_rows IS
    'What analytics_user_metrics must hold of the days or months of a window.';

-- What one company lacks, all of them together lack.
CREATE OR REPLACE FUNCTION analytics_user_metrics_together(
    p_granularity text, p_start timestamptz, p_end timestamptz
)
RETURNS TABLE (
    company_id text, period_start timestamptz, period_end timestamptz,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        NULL::text, s.period_start, s.period_end, s.total_users, s.active_users, s.new_users, s.churned_users,
        s.users_at_start, s.active_before, s.churned_of_start,
        r.churn_rate, r.active_user_rate, r.churn_rate_of_start
    FROM (
        SELECT
            m.period_start, m.period_end, sum(m.total_users)::bigint AS total_users,
            CASE WHEN bool_and(m.active_users IS NOT NULL) THEN sum(m.active_users)::bigint END AS active_users,
            CASE WHEN bool_and(m.new_users IS NOT NULL) THEN sum(m.new_users)::bigint END AS new_users,
            CASE WHEN bool_and(m.churned_users IS NOT NULL) THEN sum(m.churned_users)::bigint END AS churned_users,
            CASE WHEN bool_and(m.users_at_start IS NOT NULL) THEN sum(m.users_at_start)::bigint END AS users_at_start,
            CASE WHEN bool_and(m.active_before IS NOT NULL) THEN sum(m.active_before)::bigint END AS active_before,
            CASE WHEN bool_and(m.churned_of_start IS NOT NULL) THEN sum(m.churned_of_start)::bigint END AS churned_of_start
        FROM analytics_user_metrics AS m
        WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
        GROUP BY m.period_start, m.period_end
    ) AS s
    CROSS JOIN LATERAL analytics_user_rates(
        s.total_users, s.active_users, s.churned_users, s.active_before, s.churned_of_start
    ) AS r
$$;

COMMENT ON FUNCTION analytics_user_metrics_together IS
    'The closed days or months that begin in a half-open window, over all companies together (company_id is null).';

CREATE OR REPLACE FUNCTION analytics_closed_revenue(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_companies text[], p_together boolean
)
RETURNS SETOF analytics_revenue_metrics
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m.*
    FROM analytics_revenue_metrics AS m
    WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
      AND (p_companies IS NULL OR m.company_id = ANY (p_companies))
    UNION ALL
    SELECT t.*
    FROM analytics_revenue_metrics_together(p_granularity, p_start, p_end) AS t
    WHERE p_together
$$;

COMMENT ON FUNCTION analytics_closed_revenue IS
    'The closed days or months that begin in a half-open window: of these companies (null: of every one), and of all together (company_id is null) if that is asked for.';

CREATE OR REPLACE FUNCTION analytics_closed_movements(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_companies text[], p_together boolean
)
RETURNS SETOF analytics_mrr_movements
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m.*
    FROM analytics_mrr_movements AS m
    WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
      AND (p_companies IS NULL OR m.company_id = ANY (p_companies))
    UNION ALL
    SELECT t.*
    FROM analytics_mrr_movements_together(p_granularity, p_start, p_end) AS t
    WHERE p_together
$$;

COMMENT ON FUNCTION analytics_closed_movements IS
    'The closed days or months that begin in a half-open window: of these companies (null: of every one), and of all together (company_id is null) if that is asked for.';

CREATE OR REPLACE FUNCTION analytics_closed_users(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_companies text[], p_together boolean
)
RETURNS TABLE (
    company_id text, period_start timestamptz, period_end timestamptz,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        m.company_id, m.period_start, m.period_end, m.total_users, m.active_users, m.new_users, m.churned_users,
        m.users_at_start, m.active_before, m.churned_of_start, m.churn_rate, m.active_user_rate, m.churn_rate_of_start
    FROM analytics_user_metrics AS m
    WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
      AND (p_companies IS NULL OR m.company_id = ANY (p_companies))
    UNION ALL
    SELECT
        t.company_id, t.period_start, t.period_end, t.total_users, t.active_users, t.new_users, t.churned_users,
        t.users_at_start, t.active_before, t.churned_of_start, t.churn_rate, t.active_user_rate, t.churn_rate_of_start
    FROM analytics_user_metrics_together(p_granularity, p_start, p_end) AS t
    WHERE p_together
$$;

COMMENT ON FUNCTION analytics_closed_users IS
    'The closed days or months that begin in a half-open window: of these companies (null: of every one), and of all together (company_id is null) if that is asked for.';

CREATE OR REPLACE FUNCTION analytics_close_metric(
    p_metric text, p_granularity text, p_start timestamptz, p_end timestamptz, p_currency text, p_version integer
)
RETURNS TABLE (rows_written bigint, rows_changed bigint)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    relation text := 'analytics_' || p_metric;
    seen bigint;
    changed timestamptz[];
    -- What the figures of the period that follows stand on: its growth, and who has churned.
    carried text[] := CASE p_metric
        WHEN 'revenue_metrics' THEN ARRAY['total_revenue', 'unconverted']
        WHEN 'user_metrics' THEN ARRAY['active_fingerprint']
        ELSE '{}'
    END;
BEGIN
    PERFORM analytics_lock_changes(true);
    -- Two that compute the same rows take turns; readers don't wait.
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', relation);
    seen := analytics_newest_change();
    EXECUTE format(
        'CREATE TEMP TABLE fresh ON COMMIT DROP AS SELECT * FROM %I($1, $2, $3, $4, $5)', relation || '_rows'
    ) USING p_granularity, p_start, p_end, p_currency, p_version;
    EXECUTE format(
        $differing$
            CREATE TEMP TABLE differing ON COMMIT DROP AS
            SELECT
                coalesce(f.company_id, s.company_id) AS company_id,
                coalesce(f.period_start, s.period_start) AS period_start,
                coalesce(f.period_end, s.period_end) AS period_end,
                to_jsonb(f) AS wanted, to_jsonb(s) AS stored
            FROM fresh AS f
            FULL JOIN (
                SELECT * FROM %I AS t WHERE t.granularity = $1 AND t.period_start >= $2 AND t.period_start < $3
            ) AS s ON s.company_id = f.company_id AND s.period_start = f.period_start
            WHERE to_jsonb(f) IS DISTINCT FROM to_jsonb(s) - 'computed_at'
        $differing$, relation
    ) USING p_granularity, p_start, p_end;
    SELECT count(*), array_agg(DISTINCT d.period_start) INTO rows_changed, changed FROM differing AS d;

    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, metrics, cause)
    SELECT d.company_id, p_end, p_end, p_granularity, ARRAY[p_metric], p_metric || ' of the period before'
    FROM differing AS d
    WHERE d.period_end = p_end
      AND EXISTS (SELECT FROM unnest(carried) AS c WHERE d.wanted -> c IS DISTINCT FROM d.stored -> c);
    -- What a closed period is compared with, a year later; 29 February 2028 with the 28th of 2027.
    IF p_metric = 'revenue_metrics' THEN
        INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, metrics, cause)
        SELECT
            d.company_id, y.first_instant, y.last_instant, p_granularity, ARRAY['mrr_movements'],
            p_metric || ' of the year before'
        FROM differing AS d
        CROSS JOIN LATERAL (
            SELECT
                (d.period_start AT TIME ZONE 'UTC' + interval '1 year') AT TIME ZONE 'UTC' AS first_instant,
                (d.period_end AT TIME ZONE 'UTC' + interval '1 year' - interval '1 microsecond') AT TIME ZONE 'UTC'
                    AS last_instant
        ) AS y
        WHERE (d.wanted -> 'total_revenue', d.wanted -> 'mrr', d.wanted -> 'unconverted')
            IS DISTINCT FROM (d.stored -> 'total_revenue', d.stored -> 'mrr', d.stored -> 'unconverted')
          -- Closed in one go with that year, it stands on the same amounts already.
          AND EXISTS (
              SELECT FROM analytics_mrr_movements AS m
              WHERE m.company_id = d.company_id AND m.granularity = p_granularity
                AND m.period_start >= y.first_instant AND m.period_start <= y.last_instant
                AND (
                    coalesce(d.wanted -> 'unconverted', '[]') <> '[]'
                    OR (m.total_revenue_year_before, m.mrr_year_before) IS DISTINCT FROM (
                        coalesce((d.wanted ->> 'total_revenue')::numeric, 0),
                        coalesce((d.wanted ->> 'mrr')::numeric, 0)
                    )
                )
          );
    END IF;

    EXECUTE format(
        'DELETE FROM %I AS t WHERE t.granularity = $1 AND t.period_start >= $2 AND t.period_start < $3', relation
    ) USING p_granularity, p_start, p_end;
    -- By name: a column that a table has got later stands behind the others.
    EXECUTE format(
        'INSERT INTO %I (%s) SELECT f.* FROM fresh AS f', relation,
        (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
           FROM pg_attribute AS a
          WHERE a.attrelid = 'fresh'::regclass AND a.attnum > 0)
    );
    GET DIAGNOSTICS rows_written = ROW_COUNT;
    DROP TABLE fresh, differing;
    PERFORM analytics_note_metric(p_metric, p_granularity, p_start, p_end, p_currency, p_version, seen, changed);
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION analytics_close_metric IS
    'Computes the days or months of a metric table''s window anew, for every company.';

CREATE OR REPLACE FUNCTION analytics_note_metric(
    p_metric text, p_granularity text, p_start timestamptz, p_end timestamptz,
    p_currency text, p_version integer, p_seen bigint, p_changed timestamptz[]
)
RETURNS void
LANGUAGE sql VOLATILE
AS $$
    INSERT INTO analytics_metric_periods AS m (
        metric, granularity, period_start, period_end, currency, definitions_version, changes_seen
    )
    SELECT p_metric, p_granularity, p.period_start, p.period_end, p_currency, p_version, p_seen
    FROM analytics_periods(p_granularity, p_start, p_end) AS p
    ON CONFLICT (metric, granularity, period_start) DO UPDATE SET
        period_end = excluded.period_end, currency = excluded.currency,
        definitions_version = excluded.definitions_version,
        restated_from = CASE
            WHEN m.definitions_version <> excluded.definitions_version THEN m.definitions_version
            WHEN m.period_start = ANY (p_changed) THEN NULL
            ELSE m.restated_from
        END,
        changes_seen = excluded.changes_seen, computed_at = excluded.computed_at;

    -- What every partition it is about has seen is settled.
    DELETE FROM analytics_metric_changes AS c
    WHERE NOT EXISTS (
        SELECT FROM analytics_metric_periods AS m WHERE analytics_is_stale(m, c)
    );
$$;

COMMENT ON FUNCTION analytics_note_metric IS
    'Notes which changes the partitions of a metric have seen and which figures differ, and forgets what all have seen.';

CREATE OR REPLACE FUNCTION analytics_is_stale(p_period analytics_metric_periods, p_change analytics_metric_changes)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- A balance at a period's start is of the instant before it: hence the start is included.
    SELECT (p_period).period_end > (p_change).changed_from
       AND (p_period).changes_seen < (p_change).change_id
       AND ((p_change).changed_until IS NULL OR (p_period).period_start <= (p_change).changed_until)
       AND ((p_change).granularity IS NULL OR (p_change).granularity = (p_period).granularity)
       AND ((p_change).metrics IS NULL OR (p_period).metric = ANY ((p_change).metrics))
$$;

COMMENT ON FUNCTION analytics_is_stale IS
    'Whether a closed metric partition has not seen a change that concerns it.';

CREATE OR REPLACE FUNCTION analytics_is_outdated(
    p_period analytics_metric_periods, p_version integer, p_currency text
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce((p_period).definitions_version <> p_version OR (p_period).currency <> p_currency, false)
$$;

COMMENT ON FUNCTION analytics_is_outdated IS
    'Whether a closed metric partition follows another version of the definitions or is in another currency (null: any).';

CREATE OR REPLACE FUNCTION analytics_is_behind_horizon(p_period analytics_metric_periods, p_horizon timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    -- Who has churned in a day follows from the day before.
    SELECT coalesce(
        (p_period).period_start < p_horizon + CASE
            WHEN (p_period).metric = 'user_metrics' AND (p_period).granularity = 'day' THEN interval '24 hours'
            ELSE interval '0'
        END,
        false
    )
$$;

COMMENT ON FUNCTION analytics_is_behind_horizon IS
    'Whether events that a closed metric partition was computed from have expired (null: none have).';

-- Months of users, and the other metrics, are computed from what outlives the events.
CREATE OR REPLACE FUNCTION analytics_is_kept(p_period analytics_metric_periods, p_horizon timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT (p_period).metric = 'user_metrics' AND (p_period).granularity = 'day'
       AND analytics_is_behind_horizon(p_period, p_horizon)
$$;

COMMENT ON FUNCTION analytics_is_kept IS
    'Whether a closed metric partition can''t be computed again, whatever has changed: it keeps its figures.';

-- Without a version and a currency only changes count. Because of those two nothing is computed again whose events
-- have expired, and because of changes nothing that can't be without them: it keeps its figures.
CREATE OR REPLACE FUNCTION analytics_stale_metric_periods(
    p_version integer DEFAULT NULL, p_currency text DEFAULT NULL, p_horizon timestamptz DEFAULT NULL
)
RETURNS TABLE (
    metric text, granularity text, period_start timestamptz, period_end timestamptz, causes text,
    has_other_definitions boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        s.metric, s.granularity, s.period_start, s.period_end, string_agg(DISTINCT s.cause, ', '),
        bool_or(s.has_other_definitions)
    FROM (
        SELECT m.metric, m.granularity, m.period_start, m.period_end, c.cause, false AS has_other_definitions
        FROM analytics_metric_changes AS c
        JOIN analytics_metric_periods AS m ON analytics_is_stale(m, c)
        WHERE NOT analytics_is_kept(m, p_horizon)
        UNION ALL
        SELECT
            m.metric, m.granularity, m.period_start, m.period_end,
            CASE WHEN m.definitions_version <> p_version THEN 'definitions version ' || m.definitions_version
                 ELSE 'reporting currency ' || m.currency END,
            coalesce(m.definitions_version <> p_version, false)
        FROM analytics_metric_periods AS m
        WHERE analytics_is_outdated(m, p_version, p_currency) AND NOT analytics_is_behind_horizon(m, p_horizon)
    ) AS s
    GROUP BY s.metric, s.granularity, s.period_start, s.period_end
    ORDER BY s.granularity, s.period_start, s.metric
$$;

COMMENT ON FUNCTION analytics_stale_metric_periods IS
    'Closed metric partitions to be computed again: changes they have not seen, other definitions or currency; and why.';

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
