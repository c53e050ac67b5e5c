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
