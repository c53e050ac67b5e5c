-- Every range of the continuous aggregates, within a window, that has to be refreshed: rows that no
-- longer match their source, and ranges that were never stored. Read from TimescaleDB's invalidation
-- logs and carried up the hierarchy (invalidations don't climb by themselves: a stale hour makes its
-- day and its month stale). Works for every writer and costs writers nothing. The catalog tables are
-- internals: they are read here and nowhere else. Not cut at the watermark: it ends with the data, so
-- an event that comes late into closed, empty buckets lies above it.
WITH RECURSIVE wanted AS (
    SELECT
        _timescaledb_functions.to_unix_microseconds(%(start)s::timestamptz) AS low,
        _timescaledb_functions.to_unix_microseconds(%(end)s::timestamptz) - 1 AS high
),
aggregate AS (
    SELECT
        mat_hypertable_id AS id,
        raw_hypertable_id AS source_id,
        user_view_name::text AS name
    FROM _timescaledb_catalog.continuous_agg
    WHERE user_view_name LIKE 'analytics\_%%'
),
logged AS (
    SELECT a.id, l.lowest_modified_value AS low, l.greatest_modified_value AS high
    FROM aggregate AS a
    JOIN _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS l
        ON l.materialization_id = a.id
    UNION ALL
    SELECT a.id, l.lowest_modified_value, l.greatest_modified_value
    FROM aggregate AS a
    JOIN _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log AS l
        ON l.hypertable_id = a.source_id
    UNION ALL
    -- A refresh that was interrupted leaves its range here.
    SELECT a.id, l.lowest_modified_value, l.greatest_modified_value - 1
    FROM aggregate AS a
    JOIN _timescaledb_catalog.continuous_aggs_materialization_ranges AS l
        ON l.materialization_id = a.id
),
stale AS (
    SELECT g.id, greatest(g.low, w.low) AS low, least(g.high, w.high) AS high
    FROM logged AS g, wanted AS w
    WHERE g.low <= w.high AND g.high >= w.low
    UNION
    SELECT a.id, s.low, s.high FROM stale AS s JOIN aggregate AS a ON a.source_id = s.id
)
SELECT DISTINCT
    a.name,
    _timescaledb_functions.to_timestamp(s.low) AS first_instant,
    _timescaledb_functions.to_timestamp(s.high) AS last_instant
FROM stale AS s
JOIN aggregate AS a USING (id)
WHERE %(aggregate)s::text IS NULL OR a.name = %(aggregate)s
ORDER BY 1, 2, 3
