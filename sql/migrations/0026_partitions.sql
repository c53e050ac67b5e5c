-- What is closed: a row for each partition of each asset that was ever begun. A partition without a row is open.
CREATE TABLE IF NOT EXISTS analytics_partitions (
    -- The asset, as in Dagster.
    asset           text        NOT NULL,
    -- The window, half-open, UTC.
    window_start    timestamptz NOT NULL,
    window_end      timestamptz NOT NULL,
    -- When its proof succeeded; NULL: it is not closed.
    closed_at       timestamptz,
    -- What was proved: the rows stored for the window, and the events behind them. NULL where the asset counts
    -- neither, and where a database had closed the partition before this table.
    rows            bigint,
    events          bigint,
    -- Whether the raw events can no longer change it: it is closed and begins before the retention horizon.
    is_final        boolean     NOT NULL DEFAULT false,
    -- The runs that have tried since the last success. One counts as failed from its beginning until it is proved, so
    -- that a killed process needs nobody to say so; one that a person has ended is taken out again.
    attempts        text[]      NOT NULL DEFAULT '{}',
    failed_attempts integer     NOT NULL GENERATED ALWAYS AS (cardinality(attempts)) STORED,
    -- The last attempt: its run in Dagster, when it began, and why it failed as far as somebody could say.
    run_id          text,
    attempted_at    timestamptz,
    failure         text,
    PRIMARY KEY (asset, window_start),
    CHECK (window_start < window_end),
    CHECK (closed_at IS NULL OR (attempts = '{}' AND failure IS NULL))
);

COMMENT ON TABLE analytics_partitions IS
    'Which partitions are closed, by what proof, and which attempts at closing them have failed (docs/closing.md).';

-- A database that was closed before this table: Dagster's record is taken over once for each asset.
CREATE TABLE IF NOT EXISTS analytics_partition_adoptions (
    asset      text        PRIMARY KEY,
    partitions bigint      NOT NULL,
    adopted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE analytics_partition_adoptions IS
    'Of which assets the closed partitions that Dagster alone knew of have been taken into analytics_partitions.';
