-- The ranges for which raw events can exist, in order.
SELECT range_start, range_end
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
ORDER BY range_start
