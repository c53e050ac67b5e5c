-- name: access_database
-- What logins are made for: the database, who owns our tables, and whether that one is a superuser; whether this is the
-- embedded server, which knows no logins.
SELECT current_database()::text, o.rolname::text, o.rolsuper, version() LIKE '%emcc%'
FROM pg_class AS c
JOIN pg_roles AS o ON o.oid = c.relowner
WHERE c.oid = 'analytics_events'::regclass


-- name: access_grant
INSERT INTO analytics_company_grants AS g (role_name, company_id, role_oid)
VALUES (%(role)s, %(company)s, to_regrole(quote_ident(%(role)s))::oid)
ON CONFLICT (role_name, company_id) DO UPDATE SET role_oid = excluded.role_oid, granted_at = now()
WHERE g.role_oid IS DISTINCT FROM excluded.role_oid


-- name: access_grants
-- A grant holds while its role has the number and the name that it had.
SELECT g.role_name, g.company_id, g.granted_at, coalesce(to_regrole(quote_ident(g.role_name)) = g.role_oid, false)
FROM analytics_company_grants AS g
WHERE %(role)s::text IS NULL OR g.role_name = %(role)s
ORDER BY g.role_name, g.company_id NULLS FIRST


-- name: access_revoke
DELETE FROM analytics_company_grants
WHERE role_name = %(role)s AND company_id IS NOT DISTINCT FROM %(company)s


-- name: access_role
-- A role, and what a grant would mean to it: whether row-level security binds it at all, whether it reads every
-- company or names its company anyway, and who else would read by the grant as its member. Whoever owns the tables or
-- bypasses row-level security reads everything without it.
SELECT
    r.rolsuper OR r.rolbypassrls AS is_unbound,
    NOT r.rolsuper AND (
        pg_has_role(r.oid, t.relowner, 'MEMBER') OR pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER')
        OR coalesce(pg_has_role(r.oid, to_regrole('analytics_operator'), 'MEMBER'), false)
        OR coalesce(pg_has_role(r.oid, to_regrole('analytics_analyst'), 'MEMBER'), false)
    ) AS sees_everything,
    coalesce(pg_has_role(r.oid, to_regrole('analytics_api'), 'MEMBER'), false) AS names_its_company,
    coalesce(pg_has_role(r.oid, to_regrole('analytics_reader'), 'MEMBER'), false) AS is_reader,
    ARRAY(
        SELECT m.rolname::text
        FROM pg_roles AS m
        WHERE m.oid <> r.oid AND pg_has_role(m.oid, r.oid, 'MEMBER')
          AND NOT m.rolsuper AND NOT m.rolbypassrls AND NOT pg_has_role(m.oid, t.relowner, 'MEMBER')
        ORDER BY m.rolname
    ) AS members
FROM pg_roles AS r
CROSS JOIN (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'analytics_company_grants'::regclass) AS t
WHERE r.rolname = %(role)s


-- name: access_unbound
-- Readers whose company no grant says: those that name it themselves, as members of analytics_api, and those that see
-- nothing. Who bypasses row-level security, or owns the tables, needs no grant.
SELECT r.rolname, coalesce(pg_has_role(r.oid, to_regrole('analytics_api'), 'MEMBER'), false)
FROM pg_roles AS r
CROSS JOIN (SELECT c.relowner FROM pg_class AS c WHERE c.oid = 'analytics_company_grants'::regclass) AS t
WHERE pg_has_role(r.oid, 'analytics_reader', 'MEMBER')
  AND r.rolname NOT IN ('analytics_reader', 'analytics_api')
  AND NOT r.rolsuper AND NOT r.rolbypassrls AND NOT pg_has_role(r.oid, t.relowner, 'MEMBER')
  AND NOT EXISTS (
      SELECT FROM analytics_company_grants AS g
      WHERE to_regrole(quote_ident(g.role_name)) = g.role_oid
        AND pg_has_role(r.oid, to_regrole(quote_ident(g.role_name)), 'MEMBER')
  )
ORDER BY r.rolname


-- name: closed_headlines
-- Of each closed date of a window the number of companies' rows, and the figures over all companies. Table and columns
-- come in by name.
SELECT c.period_date::timestamp AT TIME ZONE 'UTC', c.rows, {currency}, {figures}
FROM (
    SELECT m.period_date, count(*) AS rows
    FROM {table} AS m
    WHERE m.granularity = %(granularity)s AND m.period_date >= %(first)s AND m.period_date < %(until)s
      AND m.company_id IS NOT NULL
    GROUP BY m.period_date
) AS c
LEFT JOIN {table} AS t
    ON t.company_id IS NULL AND t.granularity = %(granularity)s AND t.period_date = c.period_date


-- name: kept_metric_periods
-- Closed partitions of a metric that keep figures of other definitions or of another calendar than today's, because their
-- events have expired, and how many companies do. The table comes in by name, and its currency.
WITH other AS MATERIALIZED (
    SELECT t.company_id, t.period_date, t.definitions_version
    FROM analytics_calendars(%(zone)s, %(currency)s) AS k
    JOIN {table} AS t ON t.company_id = k.company_id
    WHERE t.granularity = %(granularity)s AND (t.time_zone <> k.time_zone OR {currency} <> k.currency)
      AND t.period_start < %(horizon)s
      AND NOT analytics_is_brought_back(t.period_start - interval '24 hours', t.period_end)
)
SELECT
    count(DISTINCT s.period_date), min(s.period_date), max(s.period_date),
    array_agg(DISTINCT s.definitions_version ORDER BY s.definitions_version),
    (SELECT count(DISTINCT o.company_id) FROM other AS o)
FROM (
    SELECT m.period_date, m.definitions_version
    FROM analytics_metric_periods AS m
    WHERE m.metric = %(metric)s AND m.granularity = %(granularity)s
      AND analytics_is_outdated(m, %(version)s, %(zone)s, %(currency)s)
      AND analytics_is_behind_horizon(m, %(horizon)s)
    UNION ALL
    SELECT o.period_date, o.definitions_version FROM other AS o
) AS s


-- name: late_behind_horizon
-- Events behind the retention horizon that came in after their hour was closed, within half-open stretches that have
-- changed: they are in no figure, and can't get into any.
SELECT count(*), min(e."timestamp"), max(e."timestamp")
FROM unnest(%(lows)s::timestamptz[], %(highs)s::timestamptz[]) AS s (low, high)
JOIN analytics_events AS e ON e."timestamp" >= s.low AND e."timestamp" < s.high
JOIN analytics_partitions AS p
    ON p.asset = %(asset)s AND p.window_start = date_trunc('hour', e."timestamp", 'UTC') AND p.closed_at < e.ingested_at
WHERE e."timestamp" < %(horizon)s


-- name: local_dates
-- How far the dates of the time zones in use reach beyond those of UTC, in winter and in summer: in whole hours, since no
-- part of an hour is closed alone. The first date that such an hour goes on of, and the last one that has begun.
WITH zone AS (
    SELECT %(zone)s::text AS time_zone
    UNION
    SELECT c.time_zone FROM analytics_companies AS c WHERE c.time_zone IS NOT NULL
), reach AS (
    SELECT
        interval '1 hour' * greatest(ceil(max(o.hours)), 0) AS ahead,
        interval '1 hour' * greatest(ceil(-min(o.hours)), 0) AS behind
    FROM zone AS z
    CROSS JOIN LATERAL (
        SELECT extract(epoch FROM (t AT TIME ZONE z.time_zone) - (t AT TIME ZONE 'UTC')) / 3600 AS hours
        FROM (VALUES (%(instant)s::timestamptz), (%(instant)s::timestamptz - interval '182 days')) AS v (t)
    ) AS o
)
SELECT
    analytics_date(%(instant)s::timestamptz - r.behind),
    (SELECT max(analytics_local_date(%(instant)s, z.time_zone)) FROM zone AS z),
    r.ahead, r.behind
FROM reach AS r


-- name: local_period_is_open
-- Whether a day or month has ended for some calendar by an instant and is not closed for it, or has not seen a change.
SELECT EXISTS (
    SELECT
    FROM analytics_due_periods(
        %(metric)s, %(granularity)s, %(first)s, %(until)s, %(zone)s, %(currency)s, %(version)s, %(horizon)s, %(ended_by)s
    ) AS d
    WHERE d.is_ended AND d.is_stale AND NOT d.is_kept
)


-- name: local_periods
-- The hours, days or months of a time zone in a half-open period of dates, each with its first and last date.
SELECT
    p.period_start, p.period_end, p.period_date,
    CASE WHEN %(granularity)s = 'month' THEN (p.period_date + interval '1 month' - interval '1 day')::date
         ELSE p.period_date END
FROM analytics_local_periods(%(granularity)s, %(first)s::date, %(until)s::date, %(zone)s) AS p
ORDER BY p.period_start


-- name: movements_of_periods
-- MRR at the start and the end of periods, what moved it and the rates that follow, in their order.
SELECT f.start_mrr AS start, f.end_mrr AS "end", f.unconverted::text AS lacking, f.*
FROM analytics_mrr_figures(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s, %(zones)s::text[]
)) AS f
ORDER BY f.place


-- name: partitions_adopt
-- Partitions that were closed before there was a record of them here; what was begun meanwhile stays as it is.
INSERT INTO analytics_partitions (asset, window_start, window_end, closed_at, run_id, attempted_at)
SELECT %(asset)s, a.window_start, a.window_end, a.closed_at, a.run_id, a.closed_at
FROM unnest(%(starts)s::timestamptz[], %(ends)s::timestamptz[], %(times)s::timestamptz[], %(runs)s::text[])
    AS a (window_start, window_end, closed_at, run_id)
ON CONFLICT (asset, window_start) DO NOTHING


-- name: partitions_adopt_failed
-- Partitions that a failed run had left before there was a record of them here; whatever is known here stays as it is.
INSERT INTO analytics_partitions (asset, window_start, window_end, attempts, failure, run_id, attempted_at)
SELECT %(asset)s, s, s + %(width)s::interval, %(attempts)s::text[], %(failure)s, %(run_id)s, %(attempted_at)s
FROM generate_series(
    %(start)s::timestamptz, %(end)s::timestamptz - interval '1 microsecond', %(width)s::interval
) AS s
ON CONFLICT (asset, window_start) DO NOTHING


-- name: partitions_begin
-- An attempt at closing the partitions of a window: they are not closed until their proof is recorded. A step that is
-- repeated in its run is the same attempt.
INSERT INTO analytics_partitions AS p (asset, window_start, window_end, attempts, run_id, attempted_at)
SELECT %(asset)s, s, s + %(width)s::interval, ARRAY[%(run_id)s::text], %(run_id)s, statement_timestamp()
FROM generate_series(
    %(start)s::timestamptz, %(end)s::timestamptz - interval '1 microsecond', %(width)s::interval
) AS s
ON CONFLICT (asset, window_start) DO UPDATE
    SET closed_at = NULL, rows = NULL, events = NULL, failure = NULL,
        attempts = array_remove(p.attempts, excluded.run_id) || excluded.run_id,
        run_id = excluded.run_id, attempted_at = excluded.attempted_at


-- name: partitions_close
-- The proof of the partitions of a window, as far as their last attempt is one of these runs'. The sub-query "counted"
-- gives the rows and events that are stored, by the partition's start.
UPDATE analytics_partitions AS p
SET closed_at = statement_timestamp(), rows = c.rows, events = c.events, attempts = '{{}}', failure = NULL,
    run_id = %(run_id)s
FROM (
    SELECT o.window_start, {rows} AS rows, {events} AS events
    FROM analytics_partitions AS o
    LEFT JOIN ({counted}) AS counted (window_start, rows, events) USING (window_start)
    WHERE o.asset = %(asset)s AND o.window_start >= %(start)s AND o.window_end <= %(end)s
) AS c
WHERE p.asset = %(asset)s AND p.window_start = c.window_start
  AND p.closed_at IS NULL AND p.run_id = ANY (%(runs)s)


-- name: partitions_closed
-- The stretches of each asset that are closed, of its whole history.
SELECT c.asset, lower(stretch), upper(stretch)
FROM (
    SELECT p.asset, range_agg(tstzrange(p.window_start, p.window_end)) AS stretches
    FROM analytics_partitions AS p
    WHERE p.closed_at IS NOT NULL
    GROUP BY p.asset
) AS c, unnest(c.stretches) AS stretch
ORDER BY 1, 2


-- name: partitions_closing_runs
-- How many partitions the newest runs have closed, of those over all of these assets, and in how many seconds. What was
-- taken over from Dagster's record has no beginning.
SELECT count(DISTINCT p.window_start), extract(epoch FROM max(p.closed_at) - min(p.attempted_at))::float8
FROM analytics_partitions AS p
WHERE p.asset = ANY (%(assets)s) AND p.closed_at > p.attempted_at
GROUP BY p.run_id
HAVING count(DISTINCT p.asset) = cardinality(%(assets)s::text[])
ORDER BY max(p.closed_at) DESC
LIMIT 50


-- name: partitions_died
-- What a run whose process was ended has left of its attempts. One that says nothing against another is taken back,
-- whatever has begun since; one that had failed before stays.
UPDATE analytics_partitions AS p
SET failure = CASE WHEN p.run_id = %(run_id)s THEN %(why)s ELSE p.failure END,
    attempts = CASE WHEN %(is_taken_back)s THEN array_remove(p.attempts, %(run_id)s) ELSE p.attempts END
WHERE %(run_id)s = ANY (p.attempts) AND p.closed_at IS NULL AND (p.run_id <> %(run_id)s OR p.failure IS NULL)


-- name: partitions_fail
-- Why an attempt of one of these runs at closing the partitions of a window has failed.
UPDATE analytics_partitions AS p
SET failure = %(failure)s
WHERE p.asset = %(asset)s AND p.window_start >= %(start)s AND p.window_end <= %(end)s
  AND p.closed_at IS NULL AND p.run_id = ANY (%(runs)s)


-- name: partitions_failed
-- The stretches of each asset whose last attempt has not closed them: it has failed, or it is under way.
SELECT f.asset, lower(stretch), upper(stretch), f.failed_attempts, f.run_id, f.attempted_at, f.failure
FROM (
    SELECT
        p.asset, p.failed_attempts, p.run_id, p.attempted_at, p.failure,
        range_agg(tstzrange(p.window_start, p.window_end)) AS stretches
    FROM analytics_partitions AS p
    WHERE p.closed_at IS NULL
    GROUP BY p.asset, p.failed_attempts, p.run_id, p.attempted_at, p.failure
) AS f, unnest(f.stretches) AS stretch
ORDER BY 1, 2


-- name: partitions_final
-- Which closed partitions the raw events can no longer change, by the retention horizon as it is now (NULL: none), without
-- those whose events were brought back.
UPDATE analytics_partitions AS p
SET is_final = NOT p.is_final
WHERE p.is_final <> (
    p.closed_at IS NOT NULL AND p.window_start < coalesce(%(horizon)s, '-infinity'::timestamptz)
    AND NOT EXISTS (
        SELECT FROM analytics_archive_holds AS h
        WHERE h.restored_at IS NOT NULL AND p.window_start >= h.events_start AND p.window_end <= h.events_end
    )
)


-- name: partitions_last_attempt
-- When the last attempt at a window of these assets began.
SELECT max(p.attempted_at)
FROM analytics_partitions AS p
WHERE p.asset = ANY (%(assets)s) AND p.window_start >= %(start)s AND p.window_start < %(end)s


-- name: partitions_metric_rows
-- The rows of companies in each partition of a metric table, which is named by its date. The table comes in by name.
SELECT m.period_date::timestamp AT TIME ZONE 'UTC', count(*), NULL::bigint
FROM {table} AS m
WHERE m.granularity = {granularity} AND m.company_id IS NOT NULL
  AND m.period_date >= (%(start)s::timestamptz AT TIME ZONE 'UTC')::date
  AND m.period_date < (%(end)s::timestamptz AT TIME ZONE 'UTC')::date
GROUP BY m.period_date


-- name: partitions_proofs
-- The closed partitions of an asset from an instant on, with their proofs, in order.
SELECT p.window_start, p.window_end, p.closed_at, p.rows, p.events
FROM analytics_partitions AS p
WHERE p.asset = %(asset)s AND p.closed_at IS NOT NULL AND p.window_start >= %(start)s
ORDER BY p.window_start


-- name: partitions_times
-- When each closed partition of these assets was last begun and closed.
SELECT p.asset, p.window_start, p.window_end, p.attempted_at, p.closed_at
FROM analytics_partitions AS p
WHERE p.asset = ANY (%(assets)s) AND p.closed_at IS NOT NULL


-- name: period_figures
-- The figures of each period of a window, by the functions that define them.
WITH period AS MATERIALIZED (
    SELECT ARRAY(
        SELECT ROW(%(company)s, p.period_start, p.period_end, %(currency)s, %(zone)s)::analytics_figure_period
        FROM analytics_periods(%(granularity)s, %(start)s, %(end)s, %(zone)s) AS p
        ORDER BY p.period_start
    ) AS periods
)
-- A column of several is that of the last: what follows from the movements has revenue and MRR for itself.
SELECT m.*, f.*, u.active_users, u.new_users, f.period_start AS start, f.period_end AS "end"
FROM period AS p
CROSS JOIN LATERAL analytics_revenue_figures(p.periods) AS f
JOIN LATERAL analytics_mrr_figures(p.periods) AS m ON m.place = f.place
JOIN LATERAL analytics_user_figures(p.periods) AS u ON u.place = f.place
ORDER BY f.place


-- name: revenue_of_periods
-- The revenue figures of periods, in their order.
SELECT f.unconverted::text AS lacking, f.*
FROM analytics_revenue_figures(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s, %(zones)s::text[]
)) AS f
ORDER BY f.place


-- name: rows_by_day
-- How many rows of a table have an instant on each day (UTC) of a half-open window. Table and column come in by name.
SELECT date_trunc('day', t.{instant}, 'UTC'), count(*)
FROM {table} AS t
WHERE t.{instant} >= %(start)s AND t.{instant} < %(end)s
GROUP BY 1


-- name: stale_partitions_of_metrics
-- The closed partitions of the metric tables to be computed again, for whichever calendar, and why.
SELECT
    p.metric, p.granularity, p.period_date, string_agg(DISTINCT p.causes, ', '), bool_or(p.has_other_definitions)
FROM analytics_stale_metric_periods(%(version)s, %(zone)s, %(currency)s, %(horizon)s) AS p
GROUP BY p.metric, p.granularity, p.period_date
ORDER BY p.granularity, p.period_date, p.metric


-- name: stored_movements_of_periods
-- What movements_of_periods gives, of those periods of which it is stored.
SELECT
    s.place, (s.figures).start_mrr AS start, (s.figures).end_mrr AS "end", (s.figures).unconverted::text AS lacking,
    (s.figures).*, false AS is_empty
FROM analytics_stored_movements(
    analytics_figure_periods(
        %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s, %(zones)s::text[]
    ),
    %(version)s
) AS s


-- name: stored_revenue_of_periods
-- What revenue_of_periods gives, of those periods of which it is stored.
SELECT s.place, (s.figures).unconverted::text AS lacking, (s.figures).*, false AS is_empty
FROM analytics_stored_revenue(
    analytics_figure_periods(
        %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], %(currency)s, %(zones)s::text[]
    ),
    %(version)s
) AS s


-- name: users_of_periods
-- The user answer of periods, in their order; is_empty: nobody was seen before the period's end.
SELECT
    a.total_users, a.active_users, a.new_users, a.churned_users, a.users_at_start, a.active_before,
    a.churn_rate, a.active_user_rate, a.churn_rate_of_start,
    a.seen_users = 0 AS is_empty
FROM analytics_user_answers(analytics_figure_periods(
    %(companies)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[], NULL, %(zones)s::text[]
)) AS a
ORDER BY a.place
