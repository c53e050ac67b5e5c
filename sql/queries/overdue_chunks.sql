-- Chunks of raw events that a policy of this age should have dealt with: older than age and slack, and
-- not loaded a moment ago; none while the server has just started.
SELECT count(*), min(range_start), max(range_end)
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
  AND range_end <= now() - %(age)s::interval - %(slack)s::interval
  AND chunk_creation_time <= now() - %(slack)s::interval
  AND pg_postmaster_start_time() <= now() - %(catch_up)s::interval
  AND NOT (%(uncompressed_only)s AND is_compressed)
