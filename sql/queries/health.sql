-- name: check_result_record
-- What a check found over a window, in place of what it found before in any part of that.
WITH replaced AS (
    DELETE FROM analytics_check_results AS r
    WHERE r.subject = %(subject)s AND r.check_name = %(check)s
      AND r.window_start >= %(start)s AND r.window_end <= %(end)s
      AND (r.window_start, r.window_end) <> (%(start)s, %(end)s)
)
INSERT INTO analytics_check_results AS r
    (subject, check_name, window_start, window_end, passed, severity, summary)
VALUES (%(subject)s, %(check)s, %(start)s, %(end)s, %(passed)s, %(severity)s, %(summary)s)
ON CONFLICT (subject, check_name, window_start, window_end) DO UPDATE
    SET passed = excluded.passed, severity = excluded.severity, summary = excluded.summary,
        checked_at = excluded.checked_at


-- name: compare_metric
-- The stored rows of a metric's closed periods, those known to be stale, outdated or kept left out, beside what the
-- definitions give now: of each company in its own calendar, and of the platform. What they stand on may have changed since,
-- and be noted nowhere yet but in a log: differences of such periods are counted apart. Table and function come in by name.
WITH calendar AS MATERIALIZED (
    SELECT k.company_id, k.time_zone, k.currency FROM analytics_calendars(%(zone)s, %(currency)s) AS k
),
closed AS MATERIALIZED (
    SELECT
        m.period_date, m.period_start, m.period_end, m.time_zone, m.currency, m.computed_at,
        EXISTS (
            SELECT
            FROM analytics_unseen_changes() AS u
            WHERE (u.period).metric = m.metric AND (u.period).granularity = m.granularity
              AND (u.period).period_date = m.period_date AND (u.period).time_zone = m.time_zone
              AND (u.period).currency = m.currency
        ) OR analytics_moved_companies(m.changes_seen, m.period_start) IS NOT NULL AS is_stale
    FROM analytics_metric_periods AS m
    WHERE m.metric = %(metric)s AND m.granularity = %(granularity)s
      AND m.period_date >= %(before)s AND m.period_date < %(until)s
      AND NOT analytics_is_outdated(m, %(version)s, %(zone)s, %(currency)s)
      AND NOT analytics_is_kept(m, %(horizon)s)
),
period AS MATERIALIZED (
    SELECT
        p.period_date, p.period_start, p.period_end, p.time_zone, p.currency, p.computed_at,
        -- The period before counts, too, as far as it is closed: growth and churn follow from it. One that never was is
        -- in the logs whatever happens.
        EXISTS (
            SELECT FROM closed AS b
            WHERE b.is_stale AND b.period_end = p.period_start AND b.time_zone = p.time_zone AND b.currency = p.currency
        )
        OR EXISTS (
            SELECT
            FROM unnest(%(stale_first)s::timestamptz[], %(stale_last)s::timestamptz[]) AS s (first_instant, last_instant)
            WHERE s.first_instant < p.period_end
              AND s.last_instant >= coalesce(
                  (
                      SELECT b.period_start FROM closed AS b
                      WHERE b.period_end = p.period_start AND b.time_zone = p.time_zone AND b.currency = p.currency
                  ),
                  p.period_start
              )
        )
        -- What is compared with the year before stands on that, too.
        OR %(metric)s = 'mrr_movements' AND EXISTS (
            SELECT
            FROM analytics_year_before(p.period_start, p.period_end, p.time_zone) AS y
            WHERE EXISTS (
                SELECT
                FROM unnest(
                    %(stale_first)s::timestamptz[], %(stale_last)s::timestamptz[]
                ) AS s (first_instant, last_instant)
                WHERE s.first_instant < y.period_end AND s.last_instant >= y.period_start
            ) OR EXISTS (
                SELECT
                FROM analytics_unseen_changes() AS b
                WHERE (b.period).metric = 'revenue_metrics' AND (b.period).granularity = %(granularity)s
                  AND (b.period).period_start >= y.period_start AND (b.period).period_start < y.period_end
            )
        ) AS has_changed_events
    FROM closed AS p
    WHERE NOT p.is_stale AND p.period_date >= %(first)s
),
-- Rows of another calendar than a company's whose events have expired stay as they are.
kept AS MATERIALIZED (
    SELECT s.company_id, s.period_date
    FROM {table} AS s
    JOIN calendar AS k ON k.company_id = s.company_id
    WHERE s.granularity = %(granularity)s AND s.period_date >= %(first)s AND s.period_date < %(until)s
      AND s.period_start < %(horizon)s
      AND NOT analytics_is_brought_back(s.period_start - interval '24 hours', s.period_end)
      AND (s.time_zone <> k.time_zone OR to_jsonb(s) ->> 'currency' <> k.currency)
),
-- Once: joined to the periods as it is, the function would be asked for each of them.
due AS MATERIALIZED (
    SELECT r.*
    FROM {rows}(%(granularity)s, %(first)s, %(until)s, %(zone)s, %(currency)s, %(version)s) AS r
    WHERE EXISTS (SELECT FROM period)
),
wanted AS MATERIALIZED (
    SELECT f.company_id, p.period_date, p.time_zone, p.currency, to_jsonb(f) AS figures
    FROM due AS f
    LEFT JOIN calendar AS k ON k.company_id = f.company_id
    JOIN period AS p
        ON p.time_zone = f.time_zone AND p.currency = coalesce(k.currency, %(currency)s)
       AND p.period_start = f.period_start
    WHERE NOT EXISTS (SELECT FROM kept AS t WHERE t.company_id = f.company_id AND t.period_date = p.period_date)
),
stored AS MATERIALIZED (
    SELECT
        s.company_id, p.period_date, p.time_zone, p.currency,
        to_jsonb(s) - 'computed_at' - 'period_date' AS figures
    FROM {table} AS s
    LEFT JOIN calendar AS k ON k.company_id = s.company_id
    JOIN period AS p
        ON p.time_zone = coalesce(k.time_zone, %(zone)s) AND p.currency = coalesce(k.currency, %(currency)s)
       AND p.period_date = s.period_date
    WHERE s.granularity = %(granularity)s
      AND NOT EXISTS (SELECT FROM kept AS t WHERE t.company_id = s.company_id AND t.period_date = s.period_date)
),
differing AS MATERIALIZED (
    SELECT
        coalesce(w.company_id, s.company_id) AS company_id,
        coalesce(w.period_date, s.period_date) AS period_date,
        coalesce(w.time_zone, s.time_zone) AS time_zone,
        coalesce(w.currency, s.currency) AS currency,
        CASE
            WHEN w.figures IS NULL THEN 'stored, but not due'
            WHEN s.figures IS NULL THEN 'due, but not stored'
            ELSE (
                SELECT
                    string_agg(
                        CASE
                            -- An amount has the digits of its currency, unless what differs is behind them.
                            WHEN r.stored <> r.due THEN format('%%s is %%s stored and %%s due', k, r.stored, r.due)
                            ELSE format('%%s is %%s stored and %%s due', k, s.figures -> k, w.figures -> k)
                        END,
                        ', '
                    )
                FROM jsonb_object_keys(w.figures) AS k
                CROSS JOIN LATERAL (
                    SELECT
                        CASE WHEN k = ANY (%(amounts)s::text[]) THEN
                            analytics_round_money((s.figures ->> k)::numeric, s.figures ->> 'currency')
                        END AS stored,
                        CASE WHEN k = ANY (%(amounts)s::text[]) THEN
                            analytics_round_money((w.figures ->> k)::numeric, w.figures ->> 'currency')
                        END AS due
                ) AS r
                WHERE s.figures -> k IS DISTINCT FROM w.figures -> k
            )
        END AS how
    FROM wanted AS w
    FULL JOIN stored AS s
        ON coalesce(s.company_id, '') = coalesce(w.company_id, '') AND s.period_date = w.period_date
    WHERE w.figures IS DISTINCT FROM s.figures
),
difference AS MATERIALIZED (
    SELECT
        d.company_id, d.period_date, d.how,
        p.has_changed_events
        -- Days that users or subscriptions have not taken in are read as they are, and have got an event since.
        OR EXISTS (
            SELECT
            FROM unnest(
                analytics_open_windows('analytics_users', p.period_end)
                + analytics_open_windows('analytics_subscriptions', p.period_end)
            ) AS r
            CROSS JOIN LATERAL (
                SELECT
                FROM analytics_events AS e
                WHERE e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
                  AND (d.company_id IS NULL OR e.company_id = d.company_id)
                  -- An event bears the time at which its transaction began.
                  AND e.ingested_at > p.computed_at - interval '1 hour'
                LIMIT 1
            ) AS e
        )
        -- Whose a subscription is that no event has named a user of may be said by an event of any later day.
        OR EXISTS (
            SELECT
            FROM analytics_subscriptions AS s
            CROSS JOIN unnest(analytics_open_windows('analytics_subscriptions', 'infinity')) AS r
            JOIN analytics_events AS e
                ON e."timestamp" >= coalesce(lower(r), '-infinity') AND e."timestamp" < upper(r)
               AND e.company_id = s.company_id AND e.metadata ->> 'subscription_id' = s.subscription_id
            WHERE %(metric)s <> 'user_metrics'
              AND (d.company_id IS NULL OR s.company_id = d.company_id)
              AND s.user_id IS NULL AND s.valid_from < p.period_end
              AND e.category = 'subscription' AND e.user_id IS NOT NULL
        ) AS has_changed
    FROM differing AS d
    JOIN period AS p
        ON p.period_date = d.period_date AND p.time_zone = d.time_zone AND p.currency = d.currency
)
SELECT
    (SELECT count(DISTINCT p.period_date) FROM period AS p),
    (SELECT count(s.company_id) FROM stored AS s),
    (SELECT count(*) FROM difference AS d WHERE NOT d.has_changed),
    ARRAY(
        SELECT format(
            '%%s, %%s: %%s', coalesce(d.company_id, 'all companies'), d.period_date, d.how
        )
        FROM difference AS d
        WHERE NOT d.has_changed
        ORDER BY d.period_date, d.company_id NULLS LAST
        LIMIT %(most)s
    ),
    ARRAY(
        SELECT d.period_date FROM difference AS d WHERE d.has_changed
        UNION
        SELECT c.period_date FROM closed AS c WHERE c.is_stale AND c.period_date >= %(first)s
        ORDER BY 1
    )


-- name: event_currencies
-- Under which currencies each company's amounts are counted: revenue and crypto of all months from their
-- monthly aggregates, other categories from the raw events of the last days, missing or malformed ones only.
WITH counted AS (
    SELECT company_id, 'revenue' AS category, currency, sum(event_count)::bigint AS events
    FROM analytics_revenue_monthly
    GROUP BY company_id, currency
    UNION ALL
    SELECT company_id, 'crypto', currency, sum(event_count)::bigint
    FROM analytics_crypto_monthly
    GROUP BY company_id, currency
    UNION ALL
    SELECT company_id, category, currency, count(*)
    FROM analytics_events
    WHERE "timestamp" >= now() - %(look_back)s::interval
      AND category NOT IN ('revenue', 'crypto')
      AND ((currency IS NULL AND value IS NOT NULL) OR NOT analytics_is_asset(currency))
    GROUP BY company_id, category, currency
)
SELECT company_id, category, currency, events, analytics_is_asset(currency)
FROM counted
ORDER BY company_id, category, currency


-- name: event_kinds
-- Which types of events came lately, in which categories; from the aggregate, which knows all of them.
SELECT category, event_type, sum(event_count)::bigint, min(bucket), max(bucket)
FROM analytics_event_volume_hourly
WHERE bucket >= now() - %(look_back)s::interval
GROUP BY category, event_type
ORDER BY category, event_type


-- name: event_span
-- Where raw events begin (start of the oldest chunk), and the newest one that is not of the future.
SELECT
    (SELECT min(range_start) FROM timescaledb_information.chunks WHERE hypertable_name = 'analytics_events'),
    (SELECT max("timestamp") FROM analytics_events WHERE "timestamp" <= now() + %(tolerance)s::interval)


-- name: event_times
-- The newest event of all, and the oldest one before the first partition.
SELECT
    (SELECT max("timestamp") FROM analytics_events),
    (SELECT min("timestamp") FROM analytics_events WHERE "timestamp" < %(start)s::timestamptz)


-- name: fx_use
-- Which currencies have amounts to convert, from the first to the last day (UTC) of them; whether lately; the
-- newest rate towards the reporting currency; and the days between without a rate. Conversion: sql/functions/fx.sql.
WITH data AS (
    SELECT max("timestamp") AS through, now() - %(look_back)s::interval AS lately
    FROM analytics_events
    WHERE "timestamp" <= now() + %(tolerance)s::interval
),
amount (currency, first_at, last_at) AS (
    SELECT currency, min(bucket), max(bucket) FROM analytics_revenue_daily GROUP BY currency
    UNION ALL
    SELECT currency, min(bucket), max(bucket) FROM analytics_billing_daily GROUP BY currency
    UNION ALL
    -- A balance stands on every day of a subscription's life.
    SELECT s.currency, min(s.valid_from), max(coalesce(s.valid_to, data.through))
    FROM analytics_subscriptions AS s, data
    WHERE s.monthly_amount > 0
    GROUP BY s.currency
    UNION ALL
    SELECT
        CASE category WHEN 'crypto' THEN metadata ->> 'fiat_currency' ELSE currency END,
        min("timestamp"), max("timestamp")
    FROM analytics_events, data
    WHERE "timestamp" >= data.lately AND "timestamp" <= data.through AND category IN ('subscription', 'crypto')
    GROUP BY 1
    UNION ALL
    -- A quantity of crypto comes with its value in money: a ticker needs rates only from when it has some.
    SELECT f.currency, greatest(min(c.bucket), f.first_rate::timestamptz), max(c.bucket)
    FROM analytics_crypto_daily AS c
    JOIN (
        SELECT pair.currency, min(r.rate_date) AS first_rate
        FROM analytics_fx_rates AS r
        CROSS JOIN LATERAL (VALUES (r.base), (r.quote)) AS pair (currency)
        GROUP BY pair.currency
    ) AS f ON f.currency = analytics_crypto_code(c.currency)
    GROUP BY f.currency, f.first_rate
    HAVING max(c.bucket) >= f.first_rate::timestamptz
),
used AS (
    SELECT
        a.currency,
        (min(a.first_at) AT TIME ZONE 'UTC')::date AS first_day,
        (max(a.last_at) AT TIME ZONE 'UTC')::date AS last_day,
        max(a.last_at) >= max(data.lately) AS lately
    FROM amount AS a, data
    WHERE a.currency <> %(base)s::text AND analytics_is_asset(a.currency)
    GROUP BY a.currency
),
quote AS (
    SELECT r.base AS currency, r.quote AS via, r.rate_date, r.source FROM analytics_fx_rates AS r
    UNION ALL
    SELECT r.quote, r.base, r.rate_date, r.source FROM analytics_fx_rates AS r
),
leg AS (
    SELECT q.currency, q.via, q.rate_date AS newest,
        daterange(q.rate_date, q.rate_date + %(days_valid)s::integer + 1) AS days
    FROM quote AS q
    UNION ALL
    -- From the day of joining on, for ever.
    SELECT pair.currency, pair.via, (data.through AT TIME ZONE 'UTC')::date, daterange(e.joined_on, NULL)
    FROM analytics_euro_rates() AS e
    CROSS JOIN data
    CROSS JOIN LATERAL (VALUES (e.currency, 'EUR'), ('EUR', e.currency)) AS pair (currency, via)
    WHERE e.joined_on <= (data.through AT TIME ZONE 'UTC')::date
),
served AS (
    SELECT l.currency, l.via, max(l.newest) AS newest, range_agg(l.days) AS days
    FROM leg AS l
    WHERE l.currency = %(base)s::text OR l.currency IN (SELECT u.currency FROM used AS u)
    GROUP BY l.currency, l.via
),
path AS (
    SELECT s.currency, s.newest, s.days FROM served AS s WHERE s.via = %(base)s::text
    UNION ALL
    SELECT sold.currency, least(sold.newest, bought.newest), sold.days * bought.days
    FROM served AS sold
    JOIN served AS bought ON bought.via = sold.via AND bought.currency = %(base)s::text
),
-- A source that goes on without a currency has ended for it.
ended AS (
    SELECT last.currency, last.rate_date, last.source
    FROM (
        SELECT DISTINCT ON (q.currency) q.currency, q.rate_date, q.source
        FROM quote AS q
        ORDER BY q.currency, q.rate_date DESC
    ) AS last
    JOIN (SELECT q.source, max(q.rate_date) AS newest FROM quote AS q GROUP BY q.source) AS source USING (source)
    WHERE source.newest - last.rate_date > %(ended_after)s::integer
)
SELECT
    u.currency, u.first_day, u.last_day, u.lately, (data.through AT TIME ZONE 'UTC')::date,
    max(p.newest),
    datemultirange(daterange(u.first_day, u.last_day, '[]')) - coalesce(range_agg(p.days), '{}'),
    ended.rate_date, ended.source
FROM used AS u
CROSS JOIN data
LEFT JOIN path AS p ON p.currency = u.currency
LEFT JOIN ended ON ended.currency = u.currency
GROUP BY u.currency, u.first_day, u.last_day, u.lately, data.through, ended.rate_date, ended.source
ORDER BY u.currency


-- name: malformed_subscription_events
-- Events of known subscription types that don't say what a subscription's change has to say: they are in no figure.
SELECT
    e.event_id, e."timestamp", e.company_id, e.user_id, e.event_type, e.category, e.value, e.currency, e.metadata,
    count(*) OVER ()
FROM analytics_events AS e
WHERE e."timestamp" >= now() - %(look_back)s::interval
  AND e.category = 'subscription'
  AND e.event_type = ANY (%(types)s)
  AND NOT analytics_is_subscription_event(
      e.event_type, e.value, e.currency, e.metadata ->> 'subscription_id', e.metadata ->> 'status',
      e.metadata ->> 'interval', e.metadata ->> 'interval_count', e.metadata ->> 'quantity'
  )
ORDER BY e."timestamp" DESC, e.event_id
LIMIT %(most)s


-- name: newest_event
-- The newest event that is not of the future, and whether the server is the embedded one.
SELECT max("timestamp"), version() LIKE '%%emcc%%'
FROM analytics_events
WHERE "timestamp" <= now() + %(tolerance)s::interval


-- name: open_conflicts
-- Contradictions that nobody has decided on, newest first, with how many there are: records of files, commands and
-- programs, and rows of the ERP that changed after they were recorded.
SELECT *, count(*) OVER ()
FROM (
    SELECT
        company_id, event_id::text AS name, "timestamp", source, NULL::text AS source_key, found_at,
        (
            SELECT string_agg(field.key, ', ' ORDER BY field.key)
            FROM jsonb_each(stored) AS field
            WHERE field.value IS DISTINCT FROM sent -> field.key
        ) AS fields
    FROM analytics_event_conflicts
    WHERE outcome = 'open'
    UNION ALL
    SELECT row ->> 'company_id', source_key, NULL, source, source_key, first_seen, reason
    FROM analytics_source_rejects
    WHERE resolved_at IS NULL AND kind = %(changed)s
) AS conflict
ORDER BY found_at DESC, name
LIMIT %(most)s


-- name: open_functions
-- Functions that every role may call: ours, and of TimescaleDB's the named ones. The embedded server has one login.
SELECT p.oid::regprocedure::text, NOT x.of_timescaledb AS is_ours
FROM pg_proc AS p
CROSS JOIN LATERAL (
    SELECT EXISTS (
        SELECT FROM pg_depend AS d
        JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'timescaledb'
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass
          AND d.deptype = 'e'
    ) AS of_timescaledb
) AS x
WHERE has_function_privilege('public', p.oid, 'EXECUTE')
  AND CASE
      WHEN x.of_timescaledb THEN p.proname = ANY (%(timescaledb)s) AND version() NOT LIKE '%%emcc%%'
      ELSE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%%'
  END
ORDER BY 1


-- name: overdue_chunks
-- Chunks of raw events that a policy of this age should have dealt with: older than age and slack, and
-- not loaded a moment ago; none while the server has just started. What is held from retention is not dropped.
SELECT count(*), min(range_start), max(range_end)
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
  AND range_end <= now() - %(age)s::interval - %(slack)s::interval
  AND chunk_creation_time <= now() - %(slack)s::interval
  AND pg_postmaster_start_time() <= now() - %(catch_up)s::interval
  AND (%(uncompressed_only)s OR NOT EXISTS (
      SELECT FROM analytics_archive_holds AS h WHERE h.events_start < range_end AND h.events_end > range_start
  ))
  AND NOT (%(uncompressed_only)s AND is_compressed)


-- name: policy_job_times
-- When the policy jobs were to start first and are to start next. 'infinity' and '-infinity', which clients
-- can't read, stand for never and for at once. The embedded server (compiled by Emscripten) keeps no plan.
SELECT
    j.job_id,
    j.schedule_interval,
    CASE WHEN isfinite(j.initial_start) THEN j.initial_start END,
    CASE WHEN isfinite(s.next_start) AND version() NOT LIKE '%emcc%' THEN s.next_start END
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.job_stats AS s USING (job_id)
WHERE j.job_id >= 1000


-- name: reader_hidden
-- Which relations the roles may read that are not for them, with the role.
SELECT role, relation
FROM unnest(%(roles)s::text[]) AS role
CROSS JOIN unnest(%(relations)s::text[]) AS relation
WHERE has_any_column_privilege(role, to_regclass(relation), 'SELECT')
ORDER BY role, relation


-- name: reader_tables
-- How the tables with a company a row are guarded, and what analytics_reader may do there.
SELECT
    name,
    t.relrowsecurity AND t.relforcerowsecurity,
    ARRAY(SELECT p.polname::text FROM pg_policy AS p WHERE p.polrelid = t.oid ORDER BY p.polname),
    has_table_privilege('analytics_reader', t.oid, 'SELECT'),
    has_table_privilege('analytics_reader', t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
FROM unnest(%(tables)s::text[]) AS name
JOIN pg_class AS t ON t.oid = to_regclass(name)
ORDER BY name


-- name: refresh_windows_into_retention
-- Refresh policies whose window reaches what the retention policy may drop: the window has to start a
-- bucket of a month and a chunk later than the retention's cut. A window without a start reaches everything.
WITH retention AS (
    SELECT min(now() - (config ->> 'drop_after')::interval) AS unsafe_until, max(config ->> 'drop_after') AS drop_after
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_retention' AND hypertable_name = 'analytics_events' AND config ? 'drop_after'
)
SELECT
    c.user_view_name::text,
    coalesce(j.config ->> 'start_offset', 'without limit'),
    retention.drop_after
FROM timescaledb_information.jobs AS j
JOIN _timescaledb_catalog.continuous_agg AS c ON c.mat_hypertable_id = (j.config ->> 'mat_hypertable_id')::integer
CROSS JOIN retention
WHERE j.proc_name = 'policy_refresh_continuous_aggregate'
  AND c.user_view_name LIKE 'analytics\_%'
  AND retention.drop_after IS NOT NULL
  AND NOT coalesce(
      now() - (j.config ->> 'start_offset')::interval > retention.unsafe_until + interval '1 month 7 days', false
  )
ORDER BY 1


-- name: repeated_event_ids
-- Ids that a company has at several instants, one of which came in lately. The hypertable's key holds the time, so an
-- id alone has no index over all chunks: every id is read once. Of very many events an even share of the ids is
-- grouped (1 in "shares", by hash: UUIDs of version 7 begin with the time).
SELECT *, count(*) OVER ()
FROM (
    SELECT company_id, event_id, array_agg("timestamp" ORDER BY "timestamp") AS instants, max(ingested_at) AS last_in
    FROM analytics_events
    WHERE uuid_hash(event_id)::bigint %% %(shares)s = 0
    GROUP BY company_id, event_id
    HAVING count(*) > 1 AND max(ingested_at) >= now() - %(look_back)s::interval
) AS repeated
ORDER BY last_in DESC, event_id
LIMIT %(most)s


-- name: server_settings
-- Settings of the server that matter for this load, sizes in bytes, with the size of the database. The
-- server is local when it is reached over a Unix socket or from the address it listens on.
SELECT
    version() LIKE '%emcc%' AS embedded,
    coalesce(inet_client_addr() = inet_server_addr() OR inet_server_addr() <<= '127.0.0.0/8', true) AS local,
    current_database()::text AS database,
    pg_size_bytes(current_setting('shared_buffers')) AS shared_buffers,
    pg_size_bytes(current_setting('effective_cache_size')) AS effective_cache_size,
    pg_size_bytes(current_setting('work_mem')) AS work_mem,
    pg_size_bytes(current_setting('maintenance_work_mem')) AS maintenance_work_mem,
    current_setting('max_connections')::integer AS max_connections,
    current_setting('max_prepared_transactions')::integer AS max_prepared_transactions,
    current_setting('max_locks_per_transaction')::integer AS max_locks_per_transaction,
    current_setting('jit')::boolean AS jit,
    (SELECT count(*)::integer FROM timescaledb_information.chunks) AS chunks,
    pg_database_size(current_database()) AS database_bytes


-- name: server_state
-- What the server is and has, for the check timescaledb_extension. Settings and processes that the role
-- may not see come as null or as not seen. The embedded engine is compiled by Emscripten: it is one
-- session without background workers, and loads the library at its start.
SELECT
    current_setting('server_version') AS postgres_version,
    version() LIKE '%emcc%' AS embedded,
    available.default_version AS available_version,
    extension.extversion AS timescaledb_version,
    current_setting('timescaledb.license', true) AS license,
    coalesce(current_setting('timescaledb.restoring', true), 'off') = 'on' AS restoring,
    'timescaledb' = ANY (
        regexp_split_to_array(
            (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'), '[\s,"]+'
        )
    ) AS preloaded,
    (SELECT setting::integer FROM pg_settings WHERE name = 'timescaledb.max_background_workers')
        AS timescaledb_workers,
    (SELECT setting::integer FROM pg_settings WHERE name = 'max_worker_processes') AS max_worker_processes,
    (SELECT setting::integer FROM pg_settings WHERE name = 'max_parallel_workers') AS max_parallel_workers,
    pg_has_role('pg_read_all_stats', 'MEMBER') AS sees_workers,
    activity.schedulers,
    activity.scheduler_here
FROM (
    SELECT
        count(*)::integer AS schedulers,
        coalesce(bool_or(datname = current_database()), false) AS scheduler_here
    FROM pg_stat_activity
    WHERE backend_type = 'TimescaleDB Background Worker Scheduler'
) AS activity
LEFT JOIN pg_extension AS extension ON extension.extname = 'timescaledb'
LEFT JOIN pg_available_extensions AS available ON available.name = 'timescaledb'


-- name: subscriptions_against_events
-- What is stored of the subscriptions that the closed events of a span touch, beside what those events give now. Where
-- that can't be compared, the stored rows count as what the events give.
WITH taken_in AS MATERIALIZED (
    SELECT
        analytics_comparable_windows(
            'analytics_subscriptions', %(horizon)s::timestamptz, %(stale_starts)s::timestamptz[],
            %(stale_ends)s::timestamptz[]
        ) * tstzmultirange(tstzrange(%(start)s, %(end)s)) AS windows
),
due AS MATERIALIZED (
    SELECT w.*
    FROM taken_in AS t
    CROSS JOIN LATERAL analytics_relinked_subscriptions(NULL, t.windows) AS w
),
stored AS MATERIALIZED (
    SELECT f.*
    FROM analytics_subscriptions AS f
    WHERE EXISTS (SELECT FROM taken_in AS t WHERE t.windows @> f.valid_from)
       OR EXISTS (SELECT FROM due AS d WHERE d.company_id = f.company_id AND d.subscription_id = f.subscription_id)
),
difference AS MATERIALIZED (
    SELECT
        coalesce(d.company_id, s.company_id) AS company_id,
        coalesce(d.subscription_id, s.subscription_id) AS subscription_id,
        coalesce(d.valid_from, s.valid_from) AS valid_from,
        CASE
            WHEN d.company_id IS NULL THEN 'stored, but not in the events'
            WHEN s.company_id IS NULL THEN 'in the events, but not stored'
            ELSE 'stored otherwise than the events say'
        END AS how
    FROM due AS d
    FULL JOIN stored AS s
        ON s.company_id = d.company_id AND s.subscription_id = d.subscription_id AND s.valid_from = d.valid_from
    WHERE d IS DISTINCT FROM s
)
SELECT
    (SELECT count(*) FROM stored),
    (SELECT count(*) FROM difference),
    (SELECT min(d.valid_from) FROM difference AS d),
    (SELECT max(d.valid_from) FROM difference AS d),
    ARRAY(
        SELECT format(
            '%%s, subscription %%s: the change of %%s is %%s', d.company_id, d.subscription_id,
            to_char(d.valid_from AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'), d.how
        )
        FROM difference AS d
        ORDER BY d.valid_from, d.company_id, d.subscription_id
        LIMIT %(most)s
    )


-- name: subscriptions_ordered_by_id
-- Instants at which only an id decides which of several changes of a subscription counts, those after the retention
-- horizon, the newest first, with how many there are.
SELECT s.company_id, s.subscription_id, s.valid_from, count(*) OVER ()
FROM analytics_subscription_rows(NULL, analytics_pending_subscriptions(NULL)) AS s
WHERE s.decided_by_id
  AND (%(horizon)s::timestamptz IS NULL OR s.valid_from >= %(horizon)s)
ORDER BY s.valid_from DESC, s.company_id, s.subscription_id
LIMIT %(most)s


-- name: unconverted_metric
-- Amounts of closed periods that are left out for want of a rate, per company, figure, part of it and currency, gains
-- and losses apart, with their days, last the reporting currency. Balances are no flows: the same one is left out of period
-- after period, so that of them it is the amount of the newest. Over all companies (null) is listed what none of them lacks
-- in its own currency.
WITH lacking AS MATERIALIZED (
    SELECT
        m.company_id, m.currency AS target, e.figure, e.part, e.currency, e.amount,
        coalesce(e.first_day, m.period_date) AS first_day,
        coalesce(e.last_day, m.period_date) AS last_day,
        e.figure = 'mrr' OR coalesce(e.part IN ('start', 'end'), false) AS is_balance,
        m.period_date = max(m.period_date) OVER (
            PARTITION BY m.company_id, m.currency, e.figure, e.part, e.currency, sign(e.amount)
        ) AS is_newest
    FROM {table} AS m
    CROSS JOIN LATERAL jsonb_to_recordset(m.unconverted) AS e (
        figure text, part text, currency text, amount numeric, first_day date, last_day date
    )
    WHERE m.granularity = %(granularity)s AND m.period_date >= %(first)s AND m.period_date < %(until)s
)
SELECT
    u.company_id, concat_ws(' ', u.figure, u.part), u.currency,
    trim_scale(sum(u.amount) FILTER (WHERE u.is_newest OR NOT u.is_balance)),
    min(u.first_day), max(u.last_day), u.target
FROM lacking AS u
WHERE u.company_id IS NOT NULL OR NOT EXISTS (
    SELECT
    FROM lacking AS c
    WHERE c.company_id IS NOT NULL AND c.target = u.target AND c.currency = u.currency AND c.figure = u.figure
      AND c.part IS NOT DISTINCT FROM u.part
)
GROUP BY u.company_id, u.target, u.figure, u.part, u.currency, sign(u.amount)
ORDER BY u.company_id, u.figure, u.part NULLS FIRST, u.currency, sign(u.amount)


-- name: users_against_events
-- What is stored of users beside the events: all of what is closed within a span, both ways, and of what was closed
-- before it a sample (by a hash that changes with the seed), whose events must be there.
WITH judged AS MATERIALIZED (
    SELECT
        analytics_comparable_windows(
            'analytics_users', analytics_events_from(), %(stale_starts)s::timestamptz[], %(stale_ends)s::timestamptz[]
        ) AS windows
),
newest AS MATERIALIZED (
    SELECT lower(r) AS span_start, upper(r) AS span_end
    FROM judged AS j
    CROSS JOIN LATERAL unnest(j.windows * tstzmultirange(tstzrange(%(since)s, %(until)s))) AS r
),
held AS MATERIALIZED (
    SELECT s.company_id, s.user_id, min(s.first_seen) AS first_seen
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT e.company_id, e.user_id, min(e."timestamp") AS first_seen
        FROM analytics_events AS e
        WHERE e."timestamp" >= n.span_start AND e."timestamp" < n.span_end AND e.user_id IS NOT NULL
        GROUP BY e.company_id, e.user_id
    ) AS s
    GROUP BY s.company_id, s.user_id
),
deletion AS MATERIALIZED (
    SELECT s.company_id, s.user_id, s.deleted_at
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT DISTINCT e.company_id, e.user_id, e."timestamp" AS deleted_at
        FROM analytics_events AS e
        WHERE e."timestamp" >= n.span_start AND e."timestamp" < n.span_end
          AND e.event_type = 'user.deleted' AND e.user_id IS NOT NULL
    ) AS s
),
fact AS (
    SELECT u.company_id, u.user_id, u.first_seen AS instant, 'first seen' AS what FROM analytics_users AS u
    UNION ALL
    SELECT d.company_id, d.user_id, d.deleted_at, 'deleted' FROM analytics_user_deletions AS d
    UNION ALL
    SELECT d.company_id, d.user_id, d.returned_at, 'back'
    FROM analytics_user_deletions AS d
    WHERE d.returned_at IS NOT NULL
),
looked_up AS (
    SELECT f.*
    FROM fact AS f
    WHERE f.what = 'back'
      AND EXISTS (SELECT FROM newest AS n WHERE f.instant >= n.span_start AND f.instant < n.span_end)
    UNION ALL
    (
        SELECT f.*
        FROM fact AS f
        CROSS JOIN judged AS j
        WHERE f.instant < %(since)s AND j.windows @> f.instant
        ORDER BY hashtextextended(f.company_id || ' ' || f.user_id, %(seed)s)
        LIMIT %(sample)s
    )
),
difference AS (
    SELECT l.company_id, l.user_id, l.instant, format('%%s then, where no event says so', l.what) AS what
    FROM looked_up AS l
    WHERE NOT EXISTS (
        SELECT FROM analytics_events AS e
        WHERE e.company_id = l.company_id AND e.user_id = l.user_id AND e."timestamp" = l.instant
          AND (l.what = 'first seen' OR (l.what = 'deleted') = (e.event_type = 'user.deleted'))
    )
    UNION ALL
    SELECT u.company_id, u.user_id, u.first_seen, 'first seen then, where no event says so'
    FROM analytics_users AS u
    JOIN newest AS n ON u.first_seen >= n.span_start AND u.first_seen < n.span_end
    LEFT JOIN held AS h ON h.company_id = u.company_id AND h.user_id = u.user_id
    WHERE h.first_seen IS DISTINCT FROM u.first_seen
    UNION ALL
    SELECT h.company_id, h.user_id, h.first_seen, 'has an event then, before the one first seen'
    FROM held AS h
    LEFT JOIN analytics_users AS u ON u.company_id = h.company_id AND u.user_id = h.user_id
    WHERE u.first_seen IS NULL OR h.first_seen < u.first_seen
    UNION ALL
    SELECT d.company_id, d.user_id, d.deleted_at, 'deleted then, where no event says so'
    FROM analytics_user_deletions AS d
    JOIN newest AS n ON d.deleted_at >= n.span_start AND d.deleted_at < n.span_end
    WHERE NOT EXISTS (
        SELECT FROM deletion AS e
        WHERE e.company_id = d.company_id AND e.user_id = d.user_id AND e.deleted_at = d.deleted_at
    )
    UNION ALL
    SELECT e.company_id, e.user_id, e.deleted_at, 'deleted then, which is not stored'
    FROM deletion AS e
    WHERE NOT EXISTS (
        SELECT FROM analytics_user_deletions AS d
        WHERE d.company_id = e.company_id AND d.user_id = e.user_id AND d.deleted_at = e.deleted_at
    )
    UNION ALL
    SELECT s.company_id, s.user_id, s.instant, 'has an event then, before the return that is stored'
    FROM newest AS n
    CROSS JOIN LATERAL (
        SELECT d.company_id, d.user_id, min(e."timestamp") AS instant
        FROM analytics_user_deletions AS d
        JOIN analytics_events AS e ON e.company_id = d.company_id AND e.user_id = d.user_id
        WHERE e."timestamp" >= n.span_start AND e."timestamp" < n.span_end
          AND e.event_type <> 'user.deleted'
          AND e."timestamp" > d.deleted_at AND e."timestamp" < coalesce(d.returned_at, 'infinity')
        GROUP BY d.company_id, d.user_id
    ) AS s
)
SELECT
    (SELECT count(*) FROM held),
    (SELECT count(*) FROM looked_up),
    (SELECT count(*) FROM difference),
    (SELECT min(d.instant) FROM difference AS d),
    (SELECT max(d.instant) FROM difference AS d),
    ARRAY(
        SELECT format(
            '%%s, user %%s: %%s %%s', d.company_id, d.user_id,
            to_char(d.instant AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS"Z"'), d.what
        )
        FROM difference AS d
        ORDER BY d.instant, d.company_id, d.user_id
        LIMIT %(most)s
    )
