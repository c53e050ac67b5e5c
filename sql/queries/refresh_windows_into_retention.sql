-- Refresh policies whose window reaches what the retention policy may drop: the window has to start a
-- bucket of a month and a chunk later than the retention's cut. A window without a start reaches everything.
WITH retention AS (
    SELECT min(now() - (config ->> 'drop_after')::interval) AS unsafe_until, max(config ->> 'drop_after') AS drop_after
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_retention' AND hypertable_name = 'analytics_events' AND config ? 'drop_after'
)
SELECT
    c.user_view_name::text,
    coalesce(j.config ->> 'start_offset', 'without limit'),
    retention.drop_after
FROM timescaledb_information.jobs AS j
JOIN _timescaledb_catalog.continuous_agg AS c ON c.mat_hypertable_id = (j.config ->> 'mat_hypertable_id')::integer
CROSS JOIN retention
WHERE j.proc_name = 'policy_refresh_continuous_aggregate'
  AND c.user_view_name LIKE 'analytics\_%'
  AND retention.drop_after IS NOT NULL
  AND NOT coalesce(
      now() - (j.config ->> 'start_offset')::interval > retention.unsafe_until + interval '1 month 7 days', false
  )
ORDER BY 1
