-- The chunks of a hypertable of time, in order.
SELECT c.range_start, c.range_end, c.is_compressed
FROM timescaledb_information.chunks AS c
WHERE c.hypertable_schema = %(schema)s AND c.hypertable_name = %(table)s AND c.range_start IS NOT NULL
ORDER BY c.range_start
