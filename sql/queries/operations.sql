-- name: backup_chunks
-- The chunks of a hypertable of time, in order.
SELECT c.range_start, c.range_end, c.is_compressed
FROM timescaledb_information.chunks AS c
WHERE c.hypertable_schema = %(schema)s AND c.hypertable_name = %(table)s AND c.range_start IS NOT NULL
ORDER BY c.range_start


-- name: backup_events
-- The events of a window [start, end) as ingestion reads them: numbers and metadata as texts, with every digit.
SELECT
    e.event_id::text, e."timestamp", e.company_id, e.user_id, e.event_type, e.category, e.value::text, e.currency,
    e.metadata::text
FROM analytics_events AS e
WHERE e."timestamp" >= %(start)s AND e."timestamp" < %(end)s
ORDER BY e."timestamp", e.event_id


-- name: backup_hypertables
-- The hypertables, and those that hold the stored rows of continuous aggregates, each under the name a user knows, with
-- the column of its time.
SELECT
    coalesce(ca.view_name, d.hypertable_name)::text, d.hypertable_schema::text, d.hypertable_name::text,
    d.column_name::text
FROM timescaledb_information.dimensions AS d
LEFT JOIN timescaledb_information.continuous_aggregates AS ca
    ON (ca.materialization_hypertable_schema, ca.materialization_hypertable_name)
     = (d.hypertable_schema, d.hypertable_name)
WHERE d.dimension_number = 1
ORDER BY 1


-- name: backup_jobs
-- The jobs of a database, without TimescaleDB's own, each with the relation a user knows.
SELECT
    j.job_id, j.proc_name::text, coalesce(ca.view_name, j.hypertable_name, '')::text, j.scheduled,
    coalesce(j.config, '{}'::jsonb)
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS ca
    ON (ca.materialization_hypertable_schema, ca.materialization_hypertable_name)
     = (j.hypertable_schema, j.hypertable_name)
WHERE j.job_id >= 1000
ORDER BY j.job_id


-- name: backup_reader
-- Whether row-level security binds this session's role, and whether it owns our tables.
SELECT
    NOT (r.rolsuper OR r.rolbypassrls),
    coalesce(
        (SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c WHERE c.oid = to_regclass('analytics_events')), false
    )
FROM pg_roles AS r
WHERE r.rolname = current_user


-- name: backup_relations
-- What a database holds of its own, of extensions nothing, sorted: tables, views, sequences, and functions.
SELECT relation FROM (
    SELECT format('%I.%I', n.nspname, c.relname) AS relation, c.oid, 'pg_class'::regclass AS catalog
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
      AND n.nspname !~ '^(pg_|_timescaledb|timescaledb_|information_schema$)'
    UNION ALL
    SELECT format('%I.%I', n.nspname, p.proname), p.oid, 'pg_proc'::regclass
    FROM pg_proc AS p
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^(pg_|_timescaledb|timescaledb_|information_schema$)'
) AS own
WHERE NOT EXISTS (
    SELECT FROM pg_depend AS d WHERE d.classid = own.catalog AND d.objid = own.oid AND d.deptype = 'e'
)
ORDER BY 1


-- name: backup_roles
-- The roles that a restore of this database needs: who owns something in it, or may use it, or runs a job of it. Not
-- those that every server has, and not whoever made an extension.
SELECT DISTINCT r.rolname::text
FROM (
    SELECT c.relowner AS role, a.grantee
    FROM pg_class AS c
    LEFT JOIN LATERAL aclexplode(c.relacl) AS a ON true
    WHERE c.relnamespace NOT IN (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname ~ '^(pg_|information_schema$)')
    UNION ALL
    SELECT p.proowner, a.grantee
    FROM pg_proc AS p
    LEFT JOIN LATERAL aclexplode(p.proacl) AS a ON true
    WHERE p.pronamespace NOT IN (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname ~ '^(pg_|information_schema$)')
    UNION ALL
    SELECT n.nspowner, a.grantee
    FROM pg_namespace AS n
    LEFT JOIN LATERAL aclexplode(n.nspacl) AS a ON true
    WHERE n.nspname !~ '^(pg_|information_schema$)'
    UNION ALL
    SELECT d.defaclrole, a.grantee
    FROM pg_default_acl AS d
    LEFT JOIN LATERAL aclexplode(d.defaclacl) AS a ON true
) AS named
JOIN pg_roles AS r ON r.oid IN (named.role, named.grantee)
WHERE r.rolname !~ '^pg_'
ORDER BY 1


-- name: backup_session
-- For a session that counts everything: texts of values that depend on no setting, and no limit of time. Settings that
-- a version of PostgreSQL lacks are left out. Row-level security is an error rather than rows that are missing, but for
-- the owner of our tables, whose own policy shows every row.
SELECT set_config(s.name, v.value, false)
FROM (VALUES
    ('TimeZone', 'UTC'), ('DateStyle', 'ISO, MDY'), ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'),
    ('extra_float_digits', '1'), ('row_security', %(row_security)s), ('statement_timeout', '0'), ('transaction_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0')
) AS v (name, value)
JOIN pg_settings AS s USING (name)


-- name: backup_settings
-- What ALTER DATABASE has set, which a dump leaves out.
SELECT split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting AS s
CROSS JOIN LATERAL unnest(s.setconfig) AS c
WHERE s.setrole = 0 AND s.setdatabase = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
  AND split_part(c, '=', 1) <> 'timescaledb.restoring'
ORDER BY 1


-- name: backup_tables
-- The tables that hold a database's own data, sorted: neither those of extensions nor the parts of hypertables.
SELECT n.nspname::text, c.relname::text
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname !~ '^(pg_|_timescaledb|timescaledb_|information_schema$)'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
  )
ORDER BY 1, 2


-- name: dagster_prune_checks
-- Asked of Dagster's storage: the results of checks of the runs that may be pruned, but the newest of each check, planned
-- or computed.
CREATE TEMPORARY TABLE prunable_checks AS
SELECT c.id
FROM asset_check_executions AS c
JOIN prunable_runs AS r USING (run_id)
WHERE NOT EXISTS (
    SELECT FROM (
        SELECT max(n.id) AS id FROM asset_check_executions AS n GROUP BY n.asset_key, n.check_name, n.partition
        UNION ALL
        SELECT max(n.id) FROM asset_check_executions AS n
        WHERE n.execution_status <> 'PLANNED'
        GROUP BY n.asset_key, n.check_name, n.partition
    ) AS newest
    WHERE newest.id = c.id
)


-- name: dagster_prune_events
-- Asked of Dagster's storage: the events of the runs that may be pruned, without the newest materialisation, observation
-- and plan of each partition of an asset, and those that a kept result of a check names.
CREATE TEMPORARY TABLE prunable_events AS
WITH kept AS (
    SELECT max(e.id) AS id FROM event_logs AS e
    WHERE e.dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION') AND e.asset_key IS NOT NULL
    GROUP BY e.dagster_event_type, e.asset_key, e.partition
    UNION ALL
    SELECT max(e.id) FROM event_logs AS e
    WHERE e.dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED' AND e.asset_key IS NOT NULL
    GROUP BY e.asset_key
    UNION ALL
    SELECT c.evaluation_event_storage_id FROM asset_check_executions AS c
    WHERE NOT EXISTS (SELECT FROM prunable_checks AS p WHERE p.id = c.id)
)
SELECT e.id
FROM event_logs AS e
JOIN prunable_runs AS r USING (run_id)
WHERE NOT EXISTS (SELECT FROM kept AS k WHERE k.id = e.id)


-- name: dagster_prune_whole_runs
-- Asked of Dagster's storage: of the runs that may be pruned those of which no event and no result of a check stays.
CREATE TEMPORARY TABLE whole_runs AS
SELECT r.id
FROM prunable_runs AS p
JOIN runs AS r USING (run_id)
WHERE NOT EXISTS (
    SELECT FROM event_logs AS e
    WHERE e.run_id = r.run_id AND NOT EXISTS (SELECT FROM prunable_events AS g WHERE g.id = e.id)
)
AND NOT EXISTS (
    SELECT FROM asset_check_executions AS c
    WHERE c.run_id = r.run_id AND NOT EXISTS (SELECT FROM prunable_checks AS g WHERE g.id = c.id)
)


-- name: dagster_storage_keep
-- Keeps what the tables of Dagster's storage were measured to hold, and forgets what is older than 400 days.
WITH forgotten AS (
    DELETE FROM analytics_dagster_storage AS d WHERE d.measured_at < now() - interval '400 days'
)
INSERT INTO analytics_dagster_storage (measured_at, table_name, approximate_rows, total_bytes)
SELECT now(), t.table_name, t.approximate_rows, t.total_bytes
FROM unnest(%(tables)s::text[], %(rows)s::bigint[], %(bytes)s::bigint[]) AS t (table_name, approximate_rows, total_bytes)


-- name: dagster_storage_tables
-- Asked of Dagster's storage: its tables, with the rows that its statistics know of, and bytes with indexes.
SELECT
    c.relname::text,
    coalesce(nullif(pg_stat_get_live_tuples(c.oid), 0), greatest(c.reltuples, 0)::bigint),
    pg_total_relation_size(c.oid)
FROM pg_class AS c
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
ORDER BY 1


-- name: explain_chunks
-- Every chunk: its hypertable, under the name a user knows, and how often this session has scanned it, its compressed
-- part or their indexes. Of earlier transactions that counts what the session has not reported yet.
SELECT
    coalesce(ca.view_name, c.hypertable_name)::text,
    c.chunk_name::text,
    (
        SELECT coalesce(sum(coalesce(t.seq_scan, 0) + coalesce(t.idx_scan, 0)), 0)::bigint
        FROM pg_stat_xact_all_tables AS t
        WHERE t.relid IN (c.chunk, s.compress_relid)
    )
FROM (
    SELECT i.*, format('%I.%I', i.chunk_schema, i.chunk_name)::regclass AS chunk
    FROM timescaledb_information.chunks AS i
) AS c
LEFT JOIN _timescaledb_catalog.compression_settings AS s ON s.relid = c.chunk
LEFT JOIN timescaledb_information.continuous_aggregates AS ca
    ON (ca.materialization_hypertable_schema, ca.materialization_hypertable_name)
     = (c.hypertable_schema, c.hypertable_name)
ORDER BY 1, 2
