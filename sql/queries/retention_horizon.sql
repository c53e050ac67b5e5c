-- Where raw events begin (oldest chunk), and where the retention policy may cut at any time.
SELECT
    (SELECT min(range_start) FROM timescaledb_information.chunks
      WHERE hypertable_name = 'analytics_events') AS oldest_chunk,
    (SELECT max(now() - (config ->> 'drop_after')::interval) FROM timescaledb_information.jobs
      WHERE proc_name = 'policy_retention' AND hypertable_name = 'analytics_events') AS policy_horizon
