-- What a retention policy with this age would drop if it ran now.
SELECT count(*), min(range_start), max(range_end)
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
  AND range_end <= now() - %(drop_after)s::interval
