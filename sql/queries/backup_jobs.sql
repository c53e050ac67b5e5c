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
