-- When the policy jobs were to start first and are to start next. 'infinity' and '-infinity', which clients
-- can't read, stand for never and for at once. The embedded server (compiled by Emscripten) keeps no plan.
SELECT
    j.job_id,
    j.schedule_interval,
    CASE WHEN isfinite(j.initial_start) THEN j.initial_start END,
    CASE WHEN isfinite(s.next_start) AND version() NOT LIKE '%emcc%' THEN s.next_start END
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.job_stats AS s USING (job_id)
WHERE j.job_id >= 1000
