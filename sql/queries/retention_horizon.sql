-- Where the retention policy may cut at any time, and before what events were once seen to be gone.
SELECT
    (SELECT max(now() - (config ->> 'drop_after')::interval) FROM timescaledb_information.jobs
      WHERE proc_name = 'policy_retention' AND hypertable_name = 'analytics_events') AS policy_horizon,
    (SELECT events_from FROM analytics_retention_horizon) AS remembered
