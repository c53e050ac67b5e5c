-- How each run of a policy job ended, where the engine can't record it: the embedded server has no
-- background workers, runs due jobs itself, and run_job() leaves timescaledb_information.job_stats
-- alone. On a native server the table stays empty.
CREATE TABLE IF NOT EXISTS analytics_job_runs (
    run_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id      integer     NOT NULL,
    proc_name   text        NOT NULL,
    relation    text,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL while it runs: a run that the server did not survive is closed as failed at the next start.
    finished_at timestamptz,
    succeeded   boolean,
    error       text
);

CREATE INDEX IF NOT EXISTS analytics_job_runs_job_idx ON analytics_job_runs (job_id, started_at DESC);

COMMENT ON TABLE analytics_job_runs IS
    'Runs of TimescaleDB policy jobs by the embedded server: job, relation, start, end, outcome, error.';
