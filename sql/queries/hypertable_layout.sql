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
