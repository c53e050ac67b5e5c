-- Size and chunks of the hypertable of raw events.
SELECT
    approximate_row_count('analytics_events'),
    count(*),
    count(*) FILTER (WHERE is_compressed),
    coalesce(hypertable_size('analytics_events'), 0)
FROM timescaledb_information.chunks
WHERE hypertable_name = 'analytics_events'
