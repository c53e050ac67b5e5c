-- name: aggregate_at_once
-- From here on in this session, or in this transaction alone, events are aggregated at once rather than by chunk and then
-- again, because most groups of hours lie in one chunk, with memory for those of a month. Returns what was set.
SELECT s.name, set_config(s.name, w.value, %(is_local)s)
FROM (VALUES ('work_mem', '64MB'), ('timescaledb.enable_chunkwise_aggregation', 'off')) AS w (name, value)
JOIN pg_settings AS s ON s.name = w.name
WHERE s.name <> 'work_mem' OR s.setting::bigint < 65536


-- name: aggregate_columns
-- The columns of a relation, in order.
SELECT a.attname::text
FROM pg_attribute AS a
WHERE a.attrelid = %(name)s::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum


-- name: aggregate_comments
-- What COMMENT ON has said of a relation (column: null) and of its columns.
SELECT a.attname::text, d.description
FROM pg_description AS d
LEFT JOIN pg_attribute AS a ON a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
WHERE d.classoid = 'pg_class'::regclass AND d.objoid = %(name)s::regclass
ORDER BY d.objsubid


-- name: aggregate_definition
-- The query a continuous aggregate is filled by, as this server prints it.
SELECT pg_get_viewdef(format('%%I.%%I', direct_view_schema, direct_view_name)::regclass)
FROM _timescaledb_catalog.continuous_agg
WHERE user_view_name = %(name)s


-- name: aggregate_dependants
-- What depends on a continuous aggregate, or on the table of its stored rows, beside the engine's own views: kind, name,
-- owner, whether this role may replace it, and whether it is a plain view on the aggregate, which can be moved.
WITH aggregate AS (
    SELECT
        format('%%I.%%I', c.user_view_schema, c.user_view_name)::regclass AS view,
        format('%%I.%%I', h.schema_name, h.table_name)::regclass AS stored
    FROM _timescaledb_catalog.continuous_agg AS c
    JOIN _timescaledb_catalog.hypertable AS h ON h.id = c.mat_hypertable_id
    WHERE c.user_view_name = %(name)s
),
engine_view AS (
    SELECT to_regclass(format('%%I.%%I', v.view_schema, v.view_name)) AS oid
    FROM _timescaledb_catalog.continuous_agg AS c
    CROSS JOIN LATERAL (
        VALUES
            (c.user_view_schema, c.user_view_name), (c.partial_view_schema, c.partial_view_name),
            (c.direct_view_schema, c.direct_view_name)
    ) AS v (view_schema, view_name)
)
SELECT DISTINCT
    CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'relation' END AS kind,
    r.oid::regclass::text AS name, pg_get_userbyid(r.relowner)::text AS owner, pg_has_role(r.relowner, 'USAGE') AS is_ours,
    r.relkind = 'v' AND d.refobjid = a.view AS is_movable
FROM aggregate AS a
JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid IN (a.view, a.stored)
JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class AS r ON r.oid = w.ev_class
WHERE r.oid <> a.view AND r.oid NOT IN (SELECT e.oid FROM engine_view AS e WHERE e.oid IS NOT NULL)
UNION ALL
SELECT 'function', p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text, pg_has_role(p.proowner, 'USAGE'), false
FROM aggregate AS a
JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid IN (a.view, a.stored)
JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
UNION ALL
SELECT 'trigger', t.tgname, pg_get_userbyid(c.relowner)::text, true, false
FROM aggregate AS a
JOIN pg_trigger AS t ON t.tgrelid = a.view AND NOT t.tgisinternal
JOIN pg_class AS c ON c.oid = t.tgrelid
UNION ALL
SELECT 'continuous aggregate', child.user_view_name::text, NULL, false, false
FROM _timescaledb_catalog.continuous_agg AS parent
JOIN _timescaledb_catalog.continuous_agg AS child ON child.parent_mat_hypertable_id = parent.mat_hypertable_id
WHERE parent.user_view_name = %(name)s
ORDER BY 1, 2


-- name: aggregate_grants
-- Who may do what on a relation, or on one of its columns, beside its owner; the grantee null: everybody.
SELECT
    CASE WHEN g.grantee <> 0 THEN pg_get_userbyid(g.grantee)::text END, g.privilege_type, g.is_grantable, g.column_name
FROM (
    SELECT c.relowner, x.grantee, x.privilege_type, x.is_grantable, NULL AS column_name
    FROM pg_class AS c
    CROSS JOIN LATERAL aclexplode(c.relacl) AS x
    WHERE c.oid = %(name)s::regclass
    UNION ALL
    SELECT c.relowner, x.grantee, x.privilege_type, x.is_grantable, a.attname::text
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND NOT a.attisdropped
    CROSS JOIN LATERAL aclexplode(a.attacl) AS x
    WHERE c.oid = %(name)s::regclass
) AS g
WHERE g.grantee <> g.relowner
ORDER BY 1, 2, 4


-- name: aggregate_indexes
-- The indexes of a table: of what kind, and how each is made of it.
SELECT CASE WHEN x.indisunique THEN 'UNIQUE INDEX' ELSE 'INDEX' END, substring(pg_get_indexdef(x.indexrelid) FROM ' USING .*$')
FROM pg_index AS x
WHERE x.indrelid = %(table)s::regclass
ORDER BY 1, 2


-- name: aggregate_layout
-- What a continuous aggregate is: source, bucket width, real-time or not, columns in order.
SELECT
    coalesce(parent.user_view_name, source.table_name)::text,
    CASE
        WHEN f.bucket_width::interval = interval '1 hour' THEN '1 hour'
        WHEN f.bucket_width::interval = interval '1 day' THEN '1 day'
        WHEN f.bucket_width::interval = interval '1 month' THEN '1 month'
        ELSE f.bucket_width::text
    END,
    c.materialized_only,
    (
        SELECT jsonb_agg(
            jsonb_build_array(
                a.attname,
                CASE a.atttypid
                    WHEN 'timestamptz'::regtype THEN 'timestamptz'
                    ELSE format_type(a.atttypid, a.atttypmod)
                END
            )
            ORDER BY a.attnum
        )
        FROM pg_attribute AS a
        WHERE a.attrelid = format('%%I.%%I', c.user_view_schema, c.user_view_name)::regclass
          AND a.attnum > 0 AND NOT a.attisdropped
    )
FROM _timescaledb_catalog.continuous_agg AS c
JOIN _timescaledb_catalog.continuous_aggs_bucket_function AS f USING (mat_hypertable_id)
JOIN _timescaledb_catalog.hypertable AS source ON source.id = c.raw_hypertable_id
LEFT JOIN _timescaledb_catalog.continuous_agg AS parent ON parent.mat_hypertable_id = c.parent_mat_hypertable_id
WHERE c.user_view_name = %(name)s


-- name: aggregate_storage
-- How a continuous aggregate keeps its rows: owner, width of the chunks, compression on or not, its segments and order.
SELECT
    pg_get_userbyid(v.relowner)::text, pg_get_userbyid(v.relowner) = current_user, d.time_interval, a.compression_enabled,
    s.segmentby, s.orderby
FROM timescaledb_information.continuous_aggregates AS a
JOIN pg_class AS v ON v.oid = format('%%I.%%I', a.view_schema, a.view_name)::regclass
JOIN timescaledb_information.dimensions AS d
    ON (d.hypertable_schema, d.hypertable_name)
     = (a.materialization_hypertable_schema, a.materialization_hypertable_name)
   AND d.dimension_number = 1
LEFT JOIN timescaledb_information.hypertable_compression_settings AS s
    ON s.hypertable = format('%%I.%%I', d.hypertable_schema, d.hypertable_name)::regclass
WHERE a.view_name = %(name)s


-- name: aggregate_stored
-- The table of an aggregate's stored rows, and the instant up to which they are shown (null: none are).
SELECT
    h.schema_name::text, h.table_name::text,
    _timescaledb_functions.to_timestamp(nullif(w.watermark, -210866803200000000))
FROM _timescaledb_catalog.continuous_agg AS c
JOIN _timescaledb_catalog.hypertable AS h ON h.id = c.mat_hypertable_id
LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark AS w USING (mat_hypertable_id)
WHERE c.user_view_name = %(name)s


-- name: aggregate_views
-- The plain views on a continuous aggregate: name, options, query.
SELECT DISTINCT r.oid::regclass::text, r.reloptions, pg_get_viewdef(r.oid)
FROM pg_depend AS d
JOIN pg_rewrite AS w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class AS r ON r.oid = w.ev_class AND r.relkind = 'v'
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(name)s::regclass AND r.oid <> d.refobjid
  AND NOT EXISTS (
      SELECT FROM _timescaledb_catalog.continuous_agg AS c
      WHERE r.oid IN (
          to_regclass(format('%%I.%%I', c.user_view_schema, c.user_view_name)),
          to_regclass(format('%%I.%%I', c.partial_view_schema, c.partial_view_name)),
          to_regclass(format('%%I.%%I', c.direct_view_schema, c.direct_view_name))
      )
  )
ORDER BY 1


-- name: archive_begin
-- From here on this database has an archive; with what was known to be gone before.
INSERT INTO analytics_archive (location, complete_from)
VALUES (%(location)s, (SELECT h.events_from FROM analytics_retention_horizon AS h))
ON CONFLICT (singleton) DO NOTHING


-- name: archive_holds
-- The months that were brought back from the archive and not released.
SELECT hold_start, hold_end, events_start, events_end, asked_at, restored_at
FROM analytics_archive_holds
ORDER BY hold_start, hold_end


-- name: audit_list
-- The newest acts of operators first.
SELECT a.audit_id, a.happened_at, a.session_role, a.actor, a.act, a.subject, a.details
FROM analytics_audit AS a
WHERE (%(act)s::text IS NULL OR a.act = %(act)s OR starts_with(a.act, %(act)s || '.'))
  AND (%(subject)s::text IS NULL OR a.subject = %(subject)s)
ORDER BY a.audit_id DESC
LIMIT %(limit)s


-- name: carried_rows
-- How many rows lie before an instant, and how many of them the key tells apart.
SELECT count(*), count(DISTINCT ({key})) FROM {new} WHERE bucket < %(cut)s


-- name: carry_rows
-- Before an instant, the rows of the old table that the new one lacks; with null in what the old one has not.
INSERT INTO {new} ({columns})
SELECT {carried} FROM {old} WHERE bucket < %(cut)s
EXCEPT ALL
SELECT {columns} FROM {new} WHERE bucket < %(cut)s


-- name: drop_uncarried_buckets
-- Before an instant, the buckets of the new table with a row that the old one has not, or with a value in a new column.
DELETE FROM {new}
WHERE bucket IN (
    SELECT surplus.bucket
    FROM (
        SELECT {columns} FROM {new} WHERE bucket < %(cut)s
        EXCEPT ALL
        SELECT {carried} FROM {old} WHERE bucket < %(cut)s
    ) AS surplus
)


-- name: count_future_events
-- Events dated further ahead than clocks differ (ingestion allows five minutes).
SELECT count(*) FROM analytics_events WHERE "timestamp" > now() + interval '5 minutes'


-- name: droppable_chunks
-- What a retention policy with this age would drop if it ran now.
SELECT count(*), min(range_start), max(range_end)
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
  AND range_end <= now() - %(drop_after)s::interval


-- name: event_chunk_sizes
-- The chunks of raw events that touch a window, in order: name, range, whether compressed, bytes with indexes.
SELECT format('%%I.%%I', c.chunk_schema, c.chunk_name), c.range_start, c.range_end, c.is_compressed, d.total_bytes
FROM timescaledb_information.chunks AS c
JOIN chunks_detailed_size('analytics_events') AS d USING (chunk_schema, chunk_name)
WHERE c.hypertable_name = 'analytics_events' AND c.range_start < %(end)s AND c.range_end > %(start)s
ORDER BY c.range_start


-- name: event_chunks
-- The ranges for which raw events can exist, in order.
SELECT range_start, range_end
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
ORDER BY range_start


-- name: hypertable_layout
-- The layout of the hypertable of raw events: dimension, compression, unique key, columns.
SELECT
    d.column_name::text,
    h.compression_enabled,
    EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = 'analytics_events'::regclass AND i.indisunique AND i.indisvalid
          AND (SELECT array_agg(a.attname::text ORDER BY a.attname)
               FROM pg_attribute AS a
               WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) = ARRAY['event_id', 'timestamp']
    ),
    (SELECT array_agg(a.attname::text) FROM pg_attribute AS a
     WHERE a.attrelid = 'analytics_events'::regclass AND a.attnum > 0 AND NOT a.attisdropped)
FROM timescaledb_information.hypertables AS h
JOIN timescaledb_information.dimensions AS d USING (hypertable_schema, hypertable_name)
WHERE h.hypertable_name = 'analytics_events' AND d.dimension_number = 1


-- name: hypertable_status
-- Size and chunks of the hypertable of raw events.
SELECT
    approximate_row_count('analytics_events'),
    count(*),
    count(*) FILTER (WHERE is_compressed),
    coalesce(hypertable_size('analytics_events'), 0)
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'


-- name: lacks_statistics
-- Whether the planner counts no events though there are some, or never will by itself: the embedded server.
SELECT
    version() LIKE '%emcc%'
    OR approximate_row_count('analytics_events') = 0 AND EXISTS (SELECT FROM analytics_events)


-- name: lock_holders
-- Whom a session waits for in the end: directly, or through others that wait themselves. A prepared transaction has the
-- process 0. What a role may not see of another's session comes as null, or as PostgreSQL says it.
WITH RECURSIVE waits AS (
    SELECT %(pid)s::integer AS pid
    UNION
    SELECT blocking.pid FROM waits AS w CROSS JOIN unnest(pg_blocking_pids(w.pid)) AS blocking (pid)
)
SELECT
    w.pid,
    coalesce(a.usename, a.backend_type) AS role,
    nullif(a.application_name, '') AS application,
    coalesce(a.client_hostname, host(a.client_addr)) AS client,
    coalesce(a.xact_start, a.backend_start) AS since,
    a.xact_start IS NOT NULL AS in_transaction,
    a.state <> 'active' AS idle,
    a.state_change AS state_since,
    a.query AS statement
FROM waits AS w
LEFT JOIN pg_stat_activity AS a ON a.pid = w.pid
WHERE w.pid <> %(pid)s AND cardinality(pg_blocking_pids(w.pid)) = 0
ORDER BY a.xact_start, w.pid


-- name: lock_wait
-- What a session waits for: the lock, and since when (null in the first moment of a wait); no row: it waits for none.
SELECT l.locktype, l.relation::regclass::text, l.waitstart
FROM pg_locks AS l
WHERE l.pid = %(pid)s AND NOT l.granted
ORDER BY l.waitstart
LIMIT 1


-- name: materialization_tables
-- The hypertable that holds the stored rows of each continuous aggregate, without the real-time part,
-- and the instant up to which rows are stored (the watermark; null when nothing is).
SELECT
    c.user_view_name::text,
    h.schema_name::text,
    h.table_name::text,
    _timescaledb_functions.to_timestamp(nullif(w.watermark, -210866803200000000)) AS watermark
FROM _timescaledb_catalog.continuous_agg AS c
JOIN _timescaledb_catalog.hypertable AS h ON h.id = c.mat_hypertable_id
LEFT JOIN _timescaledb_catalog.continuous_aggs_watermark AS w USING (mat_hypertable_id)
WHERE c.user_view_name LIKE 'analytics\_%'


-- name: missing_from_catalog
-- Which of the named columns and functions this server lacks, as people write them; a relation that is missing
-- altogether stands for its columns.
SELECT DISTINCT CASE WHEN r.oid IS NULL THEN w.relation ELSE w.relation || '.' || w.column_name END AS missing
FROM unnest(%(relations)s::text[], %(columns)s::text[]) AS w (relation, column_name)
LEFT JOIN to_regclass(w.relation) AS r (oid) ON true
WHERE NOT EXISTS (
    SELECT FROM pg_attribute AS a
    WHERE a.attrelid = r.oid AND a.attname = w.column_name AND a.attnum > 0 AND NOT a.attisdropped
)
UNION ALL
SELECT f FROM unnest(%(functions)s::text[]) AS f WHERE to_regprocedure(f) IS NULL
ORDER BY 1


-- name: policies
-- The policies of this database, one row each, with the relation a user knows.
SELECT
    j.job_id,
    j.proc_name::text,
    coalesce(ca.view_name, j.hypertable_name)::text AS relation,
    j.scheduled,
    j.schedule_interval::text,
    j.config - 'hypertable_id' - 'mat_hypertable_id' AS config
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS ca
    ON (ca.materialization_hypertable_schema, ca.materialization_hypertable_name)
     = (j.hypertable_schema, j.hypertable_name)
WHERE j.proc_name IN ('policy_compression', 'policy_retention', 'policy_refresh_continuous_aggregate')
  AND coalesce(ca.view_name, j.hypertable_name) LIKE 'analytics\_%'
ORDER BY j.job_id


-- name: policy_job_health
-- How the last finished run of every policy job ended, on a server with background workers (job_stats,
-- job_errors) and on the embedded one (analytics_job_runs). Jobs below 1000 are TimescaleDB's own.
WITH errors AS (
    SELECT
        e.job_id, e.start_time, e.sqlerrcode, e.err_message,
        -- PostgreSQL 15.20 reports this about every background job, after its work is committed.
        e.sqlerrcode = '24000' AND e.err_message LIKE 'cannot drop portal%' AS is_spurious
    FROM timescaledb_information.job_errors AS e
    WHERE e.job_id >= 1000 AND (e.finish_time IS NOT NULL OR e.err_message IS NOT NULL)
), native AS (
    SELECT
        s.job_id,
        nullif(s.last_run_started_at, '-infinity') AS started_at,
        nullif(s.last_successful_finish, '-infinity') AS succeeded_at,
        s.last_run_status,
        b.consecutive_failures::bigint AS failures,
        last_error.start_time, last_error.sqlerrcode, last_error.err_message, last_error.is_spurious,
        (
            SELECT min(e.start_time) FROM errors AS e
            WHERE e.job_id = s.job_id AND NOT e.is_spurious
              AND e.start_time > coalesce(nullif(s.last_successful_finish, '-infinity'), '-infinity')
        ) AS failing_since
    FROM timescaledb_information.job_stats AS s
    JOIN _timescaledb_internal.bgw_job_stat AS b USING (job_id)
    LEFT JOIN LATERAL (
        SELECT * FROM errors AS e WHERE e.job_id = s.job_id ORDER BY e.start_time DESC LIMIT 1
    ) AS last_error ON true
), judged AS (
    SELECT
        job_id, started_at,
        CASE
            WHEN last_run_status = 'Success' THEN true
            -- No status: it runs, or it crashed, which only the log of errors says.
            WHEN last_run_status IS NULL AND start_time >= started_at THEN false
            WHEN last_run_status IS NULL THEN NULL
            -- A millisecond or so lies between the two clocks of one run.
            WHEN start_time >= started_at - interval '1 second' THEN is_spurious
            ELSE false
        END AS succeeded,
        failing_since, failures, sqlerrcode, err_message
    FROM native
    WHERE started_at IS NOT NULL
), embedded AS (
    SELECT DISTINCT ON (r.job_id)
        r.job_id, r.started_at, r.succeeded,
        (
            SELECT min(f.started_at) FROM analytics_job_runs AS f
            WHERE f.job_id = r.job_id AND f.succeeded IS FALSE AND f.run_id > s.run_id
        ) AS failing_since,
        (
            SELECT count(*) FROM analytics_job_runs AS f
            WHERE f.job_id = r.job_id AND f.succeeded IS FALSE AND f.run_id > s.run_id
        ) AS failures,
        substring(r.error FROM '\(([0-9A-Z]{5})\)$') AS sqlerrcode,
        r.error AS err_message
    FROM analytics_job_runs AS r
    CROSS JOIN LATERAL (
        SELECT coalesce(max(o.run_id), 0) AS run_id FROM analytics_job_runs AS o
        WHERE o.job_id = r.job_id AND o.succeeded
    ) AS s
    WHERE r.finished_at IS NOT NULL
    ORDER BY r.job_id, r.run_id DESC
), newest AS (
    SELECT DISTINCT ON (job_id) *
    FROM (SELECT * FROM judged UNION ALL SELECT * FROM embedded) AS runs
    ORDER BY job_id, started_at DESC
)
SELECT
    j.job_id,
    j.proc_name::text,
    coalesce(ca.view_name, j.hypertable_name)::text AS relation,
    n.succeeded,
    n.started_at,
    coalesce(n.failing_since, n.started_at) AS failing_since,
    coalesce(n.failures, 0) AS failures,
    n.sqlerrcode,
    n.err_message,
    -- TimescaleDB unschedules a job that has failed max_retries times in a row.
    NOT j.scheduled AND j.max_retries > 0 AND coalesce(n.failures, 0) >= j.max_retries AS is_paused
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS ca
    ON (ca.materialization_hypertable_schema, ca.materialization_hypertable_name)
     = (j.hypertable_schema, j.hypertable_name)
    OR (ca.view_schema, ca.view_name) = (j.hypertable_schema, j.hypertable_name)
LEFT JOIN newest AS n USING (job_id)
WHERE j.job_id >= 1000
ORDER BY j.job_id


-- name: policy_record
-- Keep what is wanted of one policy, and who says so.
INSERT INTO analytics_policies AS p (name, value, origin, client) VALUES (%(name)s, %(value)s, %(origin)s, %(client)s)
ON CONFLICT (name) DO UPDATE
SET value = excluded.value, origin = excluded.origin, client = excluded.client, set_by = session_user, set_at = now()


-- name: policy_records
-- What is wanted of the policies, with who set it.
SELECT name, value, origin, set_by, client, set_at FROM analytics_policies ORDER BY name


-- name: rebuild_span
-- What of an aggregate is stored, or closed with nothing to store: from the first to the end of the last; null: nothing.
SELECT
    least(
        (SELECT min(s.bucket) FROM {stored} AS s),
        (SELECT min(p.window_start) FROM analytics_partitions AS p
          WHERE p.asset = %(name)s AND p.closed_at IS NOT NULL)
    ),
    greatest(
        %(watermark)s::timestamptz,
        (SELECT max(p.window_end) FROM analytics_partitions AS p
          WHERE p.asset = %(name)s AND p.closed_at IS NOT NULL)
    )


-- name: rebuilt_differences
-- The buckets of a window in which two tables of stored rows differ in the columns that both have.
SELECT coalesce(o.bucket, n.bucket)
FROM (
    SELECT s.bucket, count(*) AS rows, sum(hashtextextended(ROW({columns})::text, 0)::numeric) AS content
    FROM {old} AS s
    WHERE s.bucket >= %(start)s AND s.bucket < %(end)s
    GROUP BY s.bucket
) AS o
FULL JOIN (
    SELECT s.bucket, count(*) AS rows, sum(hashtextextended(ROW({columns})::text, 0)::numeric) AS content
    FROM {new} AS s
    WHERE s.bucket >= %(start)s AND s.bucket < %(end)s
    GROUP BY s.bucket
) AS n ON n.bucket = o.bucket
WHERE (o.rows, o.content) IS DISTINCT FROM (n.rows, n.content)
ORDER BY 1


-- name: reconcile
-- The rows an aggregate stores for a window beside those its declaration gives over the raw events.
-- Grouping by every column takes nulls as equal and counts duplicates, and rows that both sides have as often are in no
-- group that is kept; the one group without columns counts the rows. Buckets that overlap the stale ranges are known to
-- differ: they are counted apart.
-- Identifiers and the declared expressions come in by name, window and ranges as parameters.
WITH compared AS MATERIALIZED (
    SELECT
        bucket, {dimensions}, {measures}, grouping(bucket) = 1 AS is_total,
        count(*) FILTER (WHERE NOT is_stored) AS expected_rows, count(*) FILTER (WHERE is_stored) AS stored_rows
    FROM (
        SELECT e.*, false AS is_stored
        FROM (
            SELECT time_bucket({width}::interval, "timestamp") AS bucket, {dimensions}, {expressions}
            FROM {events}
            WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s AND ({condition})
            GROUP BY bucket, {dimensions}
        ) AS e
        UNION ALL
        SELECT bucket, {dimensions}, {measures}, true
        FROM {stored}
        WHERE bucket >= %(start)s AND bucket < %(end)s
    ) AS side
    GROUP BY GROUPING SETS ((), (bucket, {dimensions}, {measures}))
    HAVING grouping(bucket) = 1 OR count(*) FILTER (WHERE is_stored) <> count(*) FILTER (WHERE NOT is_stored)
),
stale AS MATERIALIZED (
    SELECT coalesce(range_agg(tstzrange(first_instant, last_instant, '[]')), '{{}}') AS ranges
    FROM unnest(%(stale_first)s::timestamptz[], %(stale_last)s::timestamptz[]) AS s (first_instant, last_instant)
),
difference AS MATERIALIZED (
    SELECT
        CASE WHEN c.expected_rows > c.stored_rows THEN 'expected' ELSE 'stored' END AS side, bucket, {dimensions},
        {measures}, s.ranges && tstzrange(c.bucket, c.bucket + {width}::interval) AS is_stale
    FROM compared AS c
    CROSS JOIN stale AS s
    CROSS JOIN generate_series(1, abs(c.expected_rows - c.stored_rows))
    WHERE NOT c.is_total
)
SELECT
    t.expected_rows,
    t.stored_rows,
    (SELECT count(*) FROM difference AS d WHERE NOT d.is_stale),
    coalesce(
        (SELECT jsonb_agg(to_jsonb(d) - 'is_stale' ORDER BY bucket, company_id, side)
         FROM (
             SELECT * FROM difference AS i WHERE NOT i.is_stale ORDER BY bucket, company_id, side LIMIT %(most)s
         ) AS d),
        '[]'
    )::text,
    ARRAY(SELECT DISTINCT d.bucket FROM difference AS d WHERE d.is_stale ORDER BY d.bucket)
FROM compared AS t
WHERE t.is_total


-- name: refreshed_ranges
-- What of a window has changed since an aggregate stored it, and what it has never stored: of the stale rest. Of a source
-- that is an aggregate the log knows where its buckets start. And whether a refresh that never ended has left notes, and who
-- has changed events.
SELECT
    r.changed,
    analytics_buckets(%(granularity)s, %(stale)s::tstzmultirange) - analytics_buckets(%(granularity)s, r.changed),
    EXISTS (SELECT FROM analytics_metric_changes AS m WHERE m.refreshing = %(aggregate)s)
        OR EXISTS (SELECT FROM analytics_changed_hours AS h WHERE h.refreshing = %(aggregate)s),
    EXISTS (SELECT FROM analytics_changed_hours AS h WHERE h.relation IS NULL)
FROM (SELECT analytics_changed_ranges(%(start)s, %(end)s, %(aggregate)s)) AS c (logged)
CROSS JOIN LATERAL (
    SELECT CASE WHEN %(source)s::text IS NULL THEN c.logged ELSE analytics_buckets(%(source)s, c.logged) END
) AS r (changed)


-- name: refreshed_rows
-- A number for all that an aggregate holds of a bucket, by company where it has changed. What was never stored is left
-- out: no closed figure stands on it.
SELECT
    CASE WHEN s.bucket <@ analytics_buckets(%(granularity)s, %(changed)s::tstzmultirange) THEN s.company_id END,
    s.bucket,
    bit_xor(hash_record_extended(s, 0))
FROM {relation} AS s
WHERE s.bucket >= %(start)s AND s.bucket < %(end)s AND NOT s.bucket <@ %(unstored)s::tstzmultirange
GROUP BY 1, 2
LIMIT %(most)s


-- name: remember_horizon
-- Keep the latest instant before which raw events have been seen to be gone.
INSERT INTO analytics_retention_horizon AS known (events_from) VALUES (%(events_from)s)
ON CONFLICT (singleton) DO UPDATE SET events_from = excluded.events_from, seen_at = now()
WHERE known.events_from < excluded.events_from


-- name: retention_horizon
-- Where the retention policy may cut at any time, and before what events were once seen to be gone.
SELECT
    (SELECT max(now() - (config ->> 'drop_after')::interval) FROM timescaledb_information.jobs
      WHERE proc_name = 'policy_retention' AND hypertable_name = 'analytics_events') AS policy_horizon,
    (SELECT events_from FROM analytics_retention_horizon) AS remembered,
    current_setting('transaction_read_only') = 'off' AS may_write


-- name: schema_part_states
-- What stands in the database of each part of the schema that migrations apply again, as a checksum: it differs when
-- anything was dropped, altered, granted or revoked by hand. Reads the catalog, and locks nothing but against DDL.
WITH roles AS (
    SELECT r.rolname
    FROM pg_roles AS r
    WHERE r.rolname IN (
        'analytics_reader', 'analytics_api', 'analytics_writer', 'analytics_operator', 'analytics_analyst'
    )
)
SELECT 'functions' AS part, md5(string_agg(
    concat_ws(E'\n', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc')), E'\n'
    ORDER BY p.proname, p.oid::regprocedure::text
)) AS state
FROM pg_proc AS p
WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%' AND p.prokind IN ('f', 'p')
UNION ALL
SELECT 'views', md5(string_agg(
    concat_ws(E'\n', c.relname, pg_get_viewdef(c.oid), c.reloptions::text, obj_description(c.oid, 'pg_class')), E'\n'
    ORDER BY c.relname
))
FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'analytics\_%' AND c.relkind = 'v'
  AND NOT EXISTS (
      SELECT FROM timescaledb_information.continuous_aggregates AS a
      WHERE a.view_schema = current_schema() AND a.view_name = c.relname
  )
UNION ALL
SELECT 'access', md5(concat_ws(E'\n',
    (SELECT string_agg(r.rolname, ' ' ORDER BY r.rolname) FROM roles AS r),
    pg_has_role(to_regrole('analytics_api'), to_regrole('analytics_reader'), 'MEMBER')::text,
    (
        SELECT string_agg(concat_ws(' ', c.relname, c.relacl::text), E'\n' ORDER BY c.relname)
        FROM pg_class AS c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'analytics\_%'
          AND c.relkind IN ('r', 'p', 'v', 'm')
    ),
    (
        SELECT string_agg(
            concat_ws(' ', p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner))::text), E'\n'
            ORDER BY p.proname, p.oid::regprocedure::text
        )
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace AND p.proname LIKE 'analytics\_%'
    )
))
UNION ALL
SELECT 'row_security', md5(concat_ws(E'\n',
    (SELECT string_agg(r.rolname, ' ' ORDER BY r.rolname) FROM roles AS r),
    string_agg(
        concat_ws(
            ' ', c.relname, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[]::text, pg_get_expr(p.polqual, p.polrelid),
            pg_get_expr(p.polwithcheck, p.polrelid)
        ),
        E'\n' ORDER BY c.relname, p.polname
    )
))
FROM pg_policy AS p
JOIN pg_class AS c ON c.oid = p.polrelid
WHERE (c.oid = 'analytics_company_grants'::regclass AND p.polname = 'own_grants')
   OR (c.oid IN (
           'analytics_revenue_metrics'::regclass, 'analytics_mrr_movements'::regclass,
           'analytics_user_metrics'::regclass
       ) AND p.polname IN ('own_companies', 'every_company'))
UNION ALL
SELECT 'api', md5(concat_ws(E'\n',
    (SELECT n.nspacl::text FROM pg_namespace AS n WHERE n.nspname = 'analytics_api'),
    (
        SELECT string_agg(
            concat_ws(E'\n', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'), p.proacl::text), E'\n'
            ORDER BY p.proname, p.oid::regprocedure::text
        )
        FROM pg_proc AS p
        WHERE p.pronamespace = to_regnamespace('analytics_api')
    ),
    -- They are made from these.
    (
        SELECT string_agg(
            concat_ws(' ', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)), E'\n'
            ORDER BY p.proname, p.oid::regprocedure::text
        )
        FROM pg_proc AS p
        WHERE p.pronamespace = current_schema()::regnamespace
          AND EXISTS (
              SELECT FROM pg_proc AS g
              WHERE g.pronamespace = to_regnamespace('analytics_api') AND g.proname = p.proname
          )
    )
))


-- name: stale_ranges
SELECT aggregate, first_instant, last_instant
FROM analytics_stale_ranges(%(start)s, %(end)s, %(aggregate)s)
