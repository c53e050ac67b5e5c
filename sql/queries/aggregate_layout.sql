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
