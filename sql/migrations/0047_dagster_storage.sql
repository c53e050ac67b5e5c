-- What Dagster's own storage holds, which is another database: measured by an asset, and kept here for who watches.
CREATE TABLE IF NOT EXISTS analytics_dagster_storage (
    measured_at      timestamptz NOT NULL,
    table_name       text        NOT NULL,
    approximate_rows bigint      NOT NULL,
    total_bytes      bigint      NOT NULL,
    PRIMARY KEY (table_name, measured_at)
);

CREATE INDEX IF NOT EXISTS analytics_dagster_storage_measured_at_idx ON analytics_dagster_storage (measured_at);

COMMENT ON TABLE analytics_dagster_storage IS
    'Rows (estimated) and bytes of the tables of Dagster''s storage, each time they were measured, for 400 days.';
