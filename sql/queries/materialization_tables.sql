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
