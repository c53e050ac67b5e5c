-- The one hypertable every figure comes from. Instants are stored in UTC.
CREATE TABLE IF NOT EXISTS analytics_events (
    event_id    uuid        NOT NULL,
    "timestamp" timestamptz NOT NULL,
    ingested_at timestamptz NOT NULL DEFAULT now(),
    company_id  text        NOT NULL,
    user_id     text,
    event_type  text        NOT NULL,
    category    text        NOT NULL,
    value       numeric,
    currency    text,
    metadata    jsonb       NOT NULL DEFAULT '{}',
    -- One NaN or infinity would make every sum over it one, for good.
    CONSTRAINT analytics_events_value_is_finite
        CHECK (value NOT IN ('NaN'::numeric, 'Infinity'::numeric, '-Infinity'::numeric))
);

SELECT create_hypertable(
    'analytics_events', 'timestamp',
    chunk_time_interval => interval '7 days',
    if_not_exists => true
);

-- Recording an event twice is harmless. TimescaleDB requires the time column in the key.
CREATE UNIQUE INDEX IF NOT EXISTS analytics_events_event_id_timestamp_key
    ON analytics_events (event_id, "timestamp");

CREATE INDEX IF NOT EXISTS analytics_events_company_id_timestamp_idx
    ON analytics_events (company_id, "timestamp" DESC);

ALTER TABLE analytics_events SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'company_id',
    timescaledb.compress_orderby = '"timestamp", event_id'
);

COMMENT ON TABLE analytics_events IS
    'Business events of all companies; hypertable on "timestamp" (event time, UTC).';
