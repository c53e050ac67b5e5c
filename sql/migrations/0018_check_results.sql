-- What the checks of runs over partitions found: reports show it beside the figures it is about.
CREATE TABLE IF NOT EXISTS analytics_check_results (
    -- The asset, as in Dagster.
    subject      text        NOT NULL,
    check_name   text        NOT NULL,
    -- The window of the run, half-open.
    window_start timestamptz NOT NULL,
    window_end   timestamptz NOT NULL,
    passed       boolean     NOT NULL,
    severity     text        NOT NULL CHECK (severity IN ('warning', 'error')),
    summary      text        NOT NULL,
    checked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subject, check_name, window_start, window_end),
    CHECK (window_start < window_end)
);

CREATE INDEX IF NOT EXISTS analytics_check_results_window_end_idx ON analytics_check_results (window_end);

COMMENT ON TABLE analytics_check_results IS
    'The latest result of each check over each window of closed partitions (docs/checks.md).';
