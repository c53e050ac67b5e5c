-- Up to where aggregates have been materialised: TimescaleDB logs changes before this instant, as the span from
-- the first to the last changed row of each transaction, and none after it. No row: there is no aggregate.
-- Before the first refresh it stands at the beginning of time, which no client type holds, nor the end of it.
SELECT least(
    greatest(_timescaledb_functions.to_timestamp(threshold.watermark), timestamptz '1970-01-01 00:00:00+00'),
    timestamptz '9999-01-01 00:00:00+00'
)
FROM _timescaledb_catalog.continuous_aggs_invalidation_threshold AS threshold
JOIN _timescaledb_catalog.hypertable ON hypertable.id = threshold.hypertable_id
WHERE to_regclass(quote_ident(hypertable.schema_name) || '.' || quote_ident(hypertable.table_name))
    = to_regclass('analytics_events')
