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
