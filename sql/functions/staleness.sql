-- Every range of the continuous aggregates, within a window, that has to be refreshed: rows that no
-- longer match their source, and ranges that were never stored. Read from TimescaleDB's invalidation
-- logs and carried up the hierarchy (invalidations don't climb by themselves: a stale hour makes its
-- day and its month stale). Works for every writer and costs writers nothing. The catalog tables are
-- internals: they are read here and nowhere else. Not cut at the watermark: it ends with the data, so
-- an event that comes late into closed, empty buckets lies above it.
CREATE OR REPLACE FUNCTION analytics_stale_ranges(p_start timestamptz, p_end timestamptz, p_aggregate text)
RETURNS TABLE (aggregate text, first_instant timestamptz, last_instant timestamptz)
LANGUAGE sql STABLE
AS $$
    WITH RECURSIVE wanted AS (
        SELECT
            _timescaledb_functions.to_unix_microseconds(p_start) AS low,
            _timescaledb_functions.to_unix_microseconds(p_end) - 1 AS high
    ),
    aggregate AS (
        SELECT
            mat_hypertable_id AS id,
            raw_hypertable_id AS source_id,
            user_view_name::text AS name
        FROM _timescaledb_catalog.continuous_agg
        WHERE user_view_name LIKE 'analytics\_%'
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
    WHERE p_aggregate IS NULL OR a.name = p_aggregate
    ORDER BY 1, 2, 3
$$;

COMMENT ON FUNCTION analytics_stale_ranges IS
    'The ranges of an aggregate (null: of all) that have to be refreshed within a half-open window; both ends inclusive.';

-- What was never stored lies between the ends of what was and those of time: who read it has read the events themselves.
CREATE OR REPLACE FUNCTION analytics_changed_ranges(p_start timestamptz, p_end timestamptz, p_aggregate text)
RETURNS tstzmultirange
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(
        range_agg(tstzrange(
            _timescaledb_functions.to_timestamp(l.low),
            _timescaledb_functions.to_timestamp(l.high) + interval '1 microsecond'
        )),
        '{}'
    ) * tstzmultirange(tstzrange(p_start, p_end))
    FROM _timescaledb_catalog.continuous_agg AS a
    CROSS JOIN LATERAL (
        SELECT g.lowest_modified_value, g.greatest_modified_value
        FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS g
        WHERE g.materialization_id = a.mat_hypertable_id
        UNION ALL
        SELECT g.lowest_modified_value, g.greatest_modified_value
        FROM _timescaledb_catalog.continuous_aggs_hypertable_invalidation_log AS g
        WHERE g.hypertable_id = a.raw_hypertable_id
    ) AS l (low, high)
    WHERE a.user_view_name = p_aggregate AND l.low > -210866803200000000 AND l.high < 9200000000000000000
$$;

COMMENT ON FUNCTION analytics_changed_ranges IS
    'What of an aggregate has changed within a half-open window since it was stored, by the log of its own source.';

-- Below its watermark a real-time aggregate answers with what is stored alone, also for a stretch that nobody has ever
-- refreshed: before what was closed first, or between what was closed. Who asks for figures reads the events there. What
-- was closed and has changed since is stored: it is stale, and answers as it was until it is closed again. Behind the
-- retention horizon there are no events to read.
CREATE OR REPLACE FUNCTION analytics_unstored(p_unit text, p_aggregates text[], p_ranges tstzmultirange)
RETURNS tstzmultirange
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
    first_instant bigint := _timescaledb_functions.to_unix_microseconds(lower(p_ranges));
    last_instant bigint := _timescaledb_functions.to_unix_microseconds(upper(p_ranges)) - 1;
    unstored tstzmultirange;
    horizon timestamptz;
BEGIN
    IF isempty(p_ranges) THEN
        RETURN '{}';
    END IF;
    unstored := (
        SELECT coalesce(
            range_agg(
                p_ranges * tstzmultirange(i.invalid) - (
                    SELECT coalesce(range_agg(tstzrange(p.window_start, p.window_end)), '{}')
                    FROM analytics_partitions AS p
                    WHERE p.asset = a.user_view_name::text AND p.closed_at IS NOT NULL
                      AND p.window_start < upper(i.invalid) AND p.window_end > lower(i.invalid)
                      -- No partition is longer than a month.
                      AND p.window_start > lower(i.invalid) - interval '32 days'
                )
            ),
            '{}'
        )
        FROM _timescaledb_catalog.continuous_agg AS a
        JOIN _timescaledb_catalog.continuous_aggs_watermark AS w ON w.mat_hypertable_id = a.mat_hypertable_id
        CROSS JOIN LATERAL (
            SELECT g.lowest_modified_value, g.greatest_modified_value
            FROM _timescaledb_catalog.continuous_aggs_materialization_invalidation_log AS g
            WHERE g.materialization_id = a.mat_hypertable_id
            UNION ALL
            SELECT r.lowest_modified_value, r.greatest_modified_value - 1
            FROM _timescaledb_catalog.continuous_aggs_materialization_ranges AS r
            WHERE r.materialization_id = a.mat_hypertable_id
        ) AS l (low, high)
        CROSS JOIN LATERAL (
            SELECT tstzrange(
                _timescaledb_functions.to_timestamp(greatest(l.low, first_instant)),
                _timescaledb_functions.to_timestamp(least(l.high, last_instant, w.watermark - 1))
                    + interval '1 microsecond'
            )
            WHERE greatest(l.low, first_instant) <= least(l.high, last_instant, w.watermark - 1)
        ) AS i (invalid)
        WHERE a.user_view_name = ANY (p_aggregates)
    );
    IF isempty(unstored) THEN
        RETURN '{}';
    END IF;
    horizon := analytics_events_from();
    RETURN (
        SELECT coalesce(
            range_agg(tstzrange(analytics_floor(p_unit, lower(u)), analytics_ceil(p_unit, upper(u)))), '{}'
        )
        FROM unnest(unstored) AS u
    ) * p_ranges - tstzmultirange(tstzrange(NULL, analytics_ceil(p_unit, coalesce(horizon, '-infinity'))));
END
$$;

COMMENT ON FUNCTION analytics_unstored IS
    'The hours, days or months (UTC) within some ranges that one of some aggregates has never stored and does not read from the events either.';

-- Above its watermark, which ends with its data, an aggregate answers with the events: also with those that came late into
-- closed hours or days without any.
CREATE OR REPLACE FUNCTION analytics_real_time_ranges(p_aggregates text[], p_start timestamptz, p_end timestamptz)
RETURNS tstzmultirange
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(range_agg(tstzrange(s.first_instant, s.last_instant + interval '1 microsecond')), '{}')
    FROM (
        SELECT a.user_view_name::text AS name, _timescaledb_functions.to_timestamp(w.watermark) AS watermark
        FROM _timescaledb_catalog.continuous_agg AS a
        JOIN _timescaledb_catalog.continuous_aggs_watermark AS w ON w.mat_hypertable_id = a.mat_hypertable_id
        WHERE a.user_view_name = ANY (p_aggregates)
    ) AS a
    CROSS JOIN LATERAL analytics_stale_ranges(greatest(p_start, a.watermark), p_end, a.name) AS s
    WHERE a.watermark < p_end
$$;

COMMENT ON FUNCTION analytics_real_time_ranges IS
    'What within a half-open window one of some aggregates has not stored as it is, and reads from the events.';

-- The closed partitions that a change has made stale are few among many: they are looked up from what has changed.
CREATE OR REPLACE FUNCTION analytics_stale_partitions(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (asset text, window_start timestamptz, window_end timestamptz)
LANGUAGE sql STABLE
AS $$
    WITH stale_range AS MATERIALIZED (
        SELECT s.aggregate, s.first_instant, s.last_instant FROM analytics_stale_ranges(p_start, p_end, NULL) AS s
    ),
    -- What has expired is not stale, also before it is marked as final: dropping its events is logged as a change.
    horizon AS MATERIALIZED (
        SELECT coalesce(analytics_events_from(), '-infinity') AS events_from
    ),
    -- OFFSET keeps the planner from reading all partitions to join them: it takes the changes for many.
    touched AS (
        SELECT w.asset, w.window_start, w.window_end
        FROM stale_range AS s
        CROSS JOIN LATERAL (
            SELECT p.asset, p.window_start, p.window_end
            FROM analytics_partitions AS p
            WHERE p.asset = s.aggregate AND p.window_start <= s.last_instant AND p.window_end > s.first_instant
              -- No partition is longer than a month: those before need not be looked at.
              AND p.window_start > s.first_instant - interval '32 days'
              AND p.closed_at IS NOT NULL AND NOT p.is_final
            OFFSET 0
        ) AS w
        UNION
        SELECT w.asset, w.window_start, w.window_end
        FROM (
            -- Partitions are named by their date, whenever it begins and ends for a company.
            SELECT DISTINCT
                (u.period).metric || CASE (u.period).granularity WHEN 'month' THEN '_monthly' ELSE '' END AS asset,
                (u.period).period_date::timestamp AT TIME ZONE 'UTC' AS window_start
            FROM (
                SELECT c.period FROM analytics_unseen_changes() AS c
                UNION ALL
                SELECT k.period FROM analytics_unseen_calendars(analytics_events_from()) AS k
            ) AS u
            WHERE (u.period).granularity <> 'year'
        ) AS m
        CROSS JOIN LATERAL (
            SELECT p.asset, p.window_start, p.window_end
            FROM analytics_partitions AS p
            WHERE p.asset = m.asset AND p.window_start = m.window_start
              AND p.closed_at IS NOT NULL AND NOT p.is_final
            OFFSET 0
        ) AS w
    )
    SELECT t.asset, t.window_start, t.window_end
    FROM touched AS t
    WHERE t.window_start < p_end AND t.window_end > p_start
      AND t.window_start >= (SELECT h.events_from FROM horizon AS h)
$$;

COMMENT ON FUNCTION analytics_stale_partitions IS
    'The partitions, within a half-open window, that are closed and whose events or figures have changed since.';

-- An open partition was begun and is not proved; one that nobody has begun is in no stretch.
CREATE OR REPLACE FUNCTION analytics_closing_stretches(p_start timestamptz, p_end timestamptz)
RETURNS TABLE (asset text, state text, stretch_start timestamptz, stretch_end timestamptz)
LANGUAGE sql STABLE
AS $$
    WITH partition AS (
        SELECT
            p.asset, p.window_start, p.window_end,
            CASE WHEN p.closed_at IS NULL THEN 'open' WHEN s.asset IS NOT NULL THEN 'stale' ELSE 'closed' END AS state
        FROM analytics_partitions AS p
        LEFT JOIN analytics_stale_partitions(p_start, p_end) AS s
            ON s.asset = p.asset AND s.window_start = p.window_start
        WHERE p.window_start < p_end AND p.window_end > p_start
    )
    SELECT c.asset, c.state, lower(stretch), upper(stretch)
    FROM (
        SELECT p.asset, p.state, range_agg(tstzrange(p.window_start, p.window_end)) AS stretches
        FROM partition AS p
        GROUP BY p.asset, p.state
    ) AS c, unnest(c.stretches) AS stretch
    ORDER BY 1, 3
$$;

COMMENT ON FUNCTION analytics_closing_stretches IS
    'What of each asset is closed, stale (closed, and changed since) or open within a half-open window.';
