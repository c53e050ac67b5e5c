-- What a refresh of a continuous aggregate changes for closed days and months: of which companies, and when. TimescaleDB's
-- invalidation log, which the refresh empties, names no company.

CREATE OR REPLACE FUNCTION analytics_buckets(p_unit text, p_ranges tstzmultirange)
RETURNS tstzmultirange
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        range_agg(tstzrange(analytics_floor(p_unit, lower(r)), analytics_ceil(p_unit, upper(r)))), '{}'
    )
    FROM unnest(p_ranges) AS r
$$;

COMMENT ON FUNCTION analytics_buckets IS
    'The whole hours, days or months (UTC) that some ranges touch.';

-- A refresh holds its aggregate's lock, so what is noted for one is of a process that was killed. Under a new number, because
-- figures may have been computed between the note and what was refreshed.
CREATE OR REPLACE FUNCTION analytics_keep_notes(p_relation text)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM analytics_lock_noting();
    WITH kept AS (
        DELETE FROM analytics_metric_changes AS c WHERE c.refreshing = p_relation RETURNING c.*
    )
    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, zones, cause)
    SELECT k.company_id, k.changed_from, k.changed_until, k.granularity, k.zones, k.cause FROM kept AS k;
    WITH kept AS (
        DELETE FROM analytics_changed_hours AS h WHERE h.refreshing = p_relation RETURNING h.*
    )
    INSERT INTO analytics_changed_hours AS h (relation, company_id, by_statement, hours)
    SELECT k.relation, k.company_id, k.by_statement, range_agg(k.hours)
    FROM kept AS k
    GROUP BY k.relation, k.company_id, k.by_statement
    ORDER BY 1, 2, 3
    ON CONFLICT (relation, company_id, by_statement, refreshing) WHERE relation IS NOT NULL
        DO UPDATE SET hours = h.hours + excluded.hours;
END
$$;

COMMENT ON FUNCTION analytics_keep_notes IS
    'Lets what was noted for refreshes of a continuous aggregate that never ended stay, as a change that nobody has seen.';

-- What was noted without an aggregate concerns all of them. Of deleted events it is not known when they were: in what the
-- log holds, of which aggregate ever.
CREATE OR REPLACE FUNCTION analytics_spread_notes()
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM analytics_lock_noting();
    WITH aggregate AS MATERIALIZED (
        SELECT a.view_name::text AS relation
        FROM timescaledb_information.continuous_aggregates AS a
        WHERE a.view_name LIKE 'analytics\_%'
    ),
    common AS (
        DELETE FROM analytics_changed_hours AS h WHERE h.relation IS NULL RETURNING h.company_id, h.by_statement, h.hours
    ),
    logged AS MATERIALIZED (
        SELECT range_agg(analytics_changed_ranges('-infinity', 'infinity', a.relation)) AS hours
        FROM aggregate AS a
        WHERE EXISTS (SELECT FROM analytics_changed_hours AS h WHERE h.relation IS NULL AND upper_inf(h.hours))
    )
    INSERT INTO analytics_changed_hours AS h (relation, company_id, by_statement, hours)
    SELECT a.relation, c.company_id, c.by_statement, c.hours
    FROM (
        SELECT
            k.company_id, k.by_statement,
            range_agg(CASE WHEN upper_inf(k.hours) THEN (SELECT l.hours FROM logged AS l) ELSE k.hours END) AS hours
        FROM common AS k
        GROUP BY k.company_id, k.by_statement
    ) AS c
    CROSS JOIN aggregate AS a
    WHERE NOT isempty(c.hours)
    ORDER BY 1, 2, 3
    ON CONFLICT (relation, company_id, by_statement, refreshing) WHERE relation IS NOT NULL
        DO UPDATE SET hours = h.hours + excluded.hours;
END
$$;

COMMENT ON FUNCTION analytics_spread_notes IS
    'Gives each continuous aggregate what was noted for all of them.';

-- Without a company: what is known before the refresh, and all that a process leaves that is killed in it.
CREATE OR REPLACE FUNCTION analytics_note_refresh(
    p_start timestamptz, p_end timestamptz, p_granularity text, p_relation text, p_changed tstzmultirange,
    p_is_replaced boolean
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    has_local boolean;
    replaced_by text := CASE WHEN p_is_replaced THEN p_relation END;
    cause text := 'events in ' || p_relation;
BEGIN
    PERFORM analytics_lock_noting();
    has_local := EXISTS (SELECT FROM analytics_metric_periods AS m WHERE m.time_zone <> 'UTC');
    IF p_granularity = 'hour' THEN
        -- Figures of days read the hours at their edges, and days and months are refreshed later.
        INSERT INTO analytics_changed_hours AS h (relation, hours, refreshing)
        SELECT a.view_name::text, p_changed, replaced_by
        FROM timescaledb_information.continuous_aggregates AS a
        WHERE a.view_name LIKE 'analytics\_%' AND a.view_name NOT LIKE '%\_hourly' AND NOT isempty(p_changed)
        ORDER BY 1
        ON CONFLICT (relation, company_id, by_statement, refreshing) WHERE relation IS NOT NULL
            DO UPDATE SET hours = h.hours + excluded.hours;
    ELSE
        -- What days changed concerns the months they are in as well.
        INSERT INTO analytics_metric_changes (
            company_id, changed_from, changed_until, granularity, zones, cause, refreshing
        )
        VALUES (
            NULL, p_start, p_end - interval '1 microsecond', nullif(p_granularity, 'day'),
            CASE WHEN has_local THEN 'UTC' END, cause, replaced_by
        );
    END IF;
    IF has_local THEN
        INSERT INTO analytics_metric_changes (
            company_id, changed_from, changed_until, granularity, zones, cause, refreshing
        )
        SELECT
            NULL, lower(r), upper(r) - interval '1 microsecond',
            CASE WHEN p_granularity = 'month' THEN 'month' END, 'local', cause, replaced_by
        FROM unnest(p_changed) AS r;
    END IF;
END
$$;

COMMENT ON FUNCTION analytics_note_refresh IS
    'Notes that a continuous aggregate is refreshed over a half-open window, and what of that had been stored before and has changed: until analytics_settle_refresh knows of whom (p_is_replaced), or to stay.';

-- An event may be in no row that differs: it is of another category, or was changed and leaves the sums as they were, which
-- is noted by itself (analytics_note_changed_rows). Where nothing says what the log speaks of, it is everybody's.
CREATE OR REPLACE FUNCTION analytics_settle_refresh(
    p_start timestamptz, p_end timestamptz, p_granularity text, p_relation text, p_reads_all boolean,
    p_changed tstzmultirange, p_unstored tstzmultirange, p_companies text[], p_buckets timestamptz[]
)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    max_changes CONSTANT integer := 1000;
    refreshed tstzmultirange := tstzmultirange(tstzrange(p_start, p_end));
    refreshed_days tstzmultirange := analytics_buckets('day', refreshed);
    has_local boolean;
    refreshes_itself boolean;
    cause text := 'events in ' || p_relation;
BEGIN
    PERFORM analytics_lock_noting();
    DELETE FROM analytics_metric_changes AS c WHERE c.refreshing = p_relation;
    DELETE FROM analytics_changed_hours AS h WHERE h.refreshing = p_relation;
    -- Events that were deleted meanwhile may be in the log no longer.
    INSERT INTO analytics_changed_hours AS h (relation, by_statement, hours)
    SELECT p_relation, true, refreshed
    WHERE EXISTS (SELECT FROM analytics_changed_hours AS d WHERE d.relation IS NULL AND upper_inf(d.hours))
    ON CONFLICT (relation, company_id, by_statement, refreshing) WHERE relation IS NOT NULL
        DO UPDATE SET hours = h.hours + excluded.hours;
    PERFORM analytics_spread_notes();
    has_local := EXISTS (SELECT FROM analytics_metric_periods AS m WHERE m.time_zone <> 'UTC');
    -- Hours that TimescaleDB has refreshed are not known.
    refreshes_itself := p_granularity <> 'hour' AND EXISTS (
        SELECT
        FROM timescaledb_information.jobs AS j
        JOIN _timescaledb_catalog.continuous_agg AS a
            ON a.mat_hypertable_id = (j.config ->> 'mat_hypertable_id')::integer
        WHERE j.proc_name = 'policy_refresh_continuous_aggregate' AND j.scheduled
          AND a.user_view_name LIKE 'analytics\_%\_hourly'
    );

    CREATE TEMP TABLE noted ON COMMIT DROP AS
    WITH known AS (
        SELECT h.company_id, h.by_statement, h.hours * refreshed AS instants
        FROM analytics_changed_hours AS h
        WHERE h.relation = p_relation AND h.hours && refreshed
    ),
    differing AS (
        SELECT
            d.company_id, tstzrange(d.bucket, analytics_ceil(p_granularity, d.bucket + interval '1 microsecond')) AS bucket
        FROM unnest(p_companies, p_buckets) AS d (company_id, bucket)
    )
    SELECT k.company_id, k.instants, true AS is_known, nullif(p_granularity, 'day') AS granularity
    FROM known AS k
    UNION ALL
    SELECT
        d.company_id,
        range_agg(
            CASE WHEN d.bucket && p_changed THEN p_changed * tstzmultirange(d.bucket)
                 ELSE tstzmultirange(d.bucket) END
        ),
        false, NULL
    FROM differing AS d
    WHERE refreshes_itself OR NOT EXISTS (
        SELECT FROM known AS k
        WHERE (k.company_id = d.company_id OR k.company_id IS NULL) AND k.instants && d.bucket
          -- Beside what a statement has noted there may be other changes of the hour.
          AND NOT (k.by_statement AND p_granularity = 'hour')
    )
    GROUP BY d.company_id;
    INSERT INTO noted
    SELECT NULL, tstzmultirange(r), false, nullif(p_granularity, 'day')
    FROM unnest(p_changed) AS r
    WHERE p_buckets IS NULL OR (
        p_reads_all
        -- TimescaleDB 2.23 takes the first instant of the month after for changed, too.
        AND (p_granularity <> 'month' OR tstzmultirange(r) <> tstzmultirange(
            tstzrange(analytics_floor('month', lower(r)), analytics_floor('month', lower(r)) + interval '1 microsecond')
        ))
        AND NOT EXISTS (
            SELECT FROM noted AS n WHERE n.instants && analytics_buckets(p_granularity, tstzmultirange(r))
        )
    );
    -- Of thousands of hours the days are noted, and of thousands of companies that it is anybody's: what is noted is
    -- looked through for each closed day and month.
    IF (SELECT sum((SELECT count(*) FROM unnest(n.instants))) FROM noted AS n) > max_changes THEN
        UPDATE noted AS n SET instants = analytics_buckets('day', n.instants);
    END IF;
    IF (SELECT sum((SELECT count(*) FROM unnest(n.instants))) FROM noted AS n) > max_changes THEN
        CREATE TEMP TABLE merged ON COMMIT DROP AS
        SELECT NULL::text, range_agg(n.instants), n.is_known, n.granularity
        FROM noted AS n
        GROUP BY n.is_known, n.granularity;
        DELETE FROM noted;
        INSERT INTO noted SELECT * FROM merged;
        DROP TABLE merged;
    END IF;

    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, zones, cause)
    SELECT
        n.company_id, lower(r), upper(r) - interval '1 microsecond',
        CASE WHEN p_granularity <> 'hour' THEN n.granularity END, CASE WHEN p_granularity = 'hour' THEN 'local' END, cause
    FROM noted AS n
    CROSS JOIN LATERAL unnest(n.instants) AS r
    WHERE has_local OR p_granularity <> 'hour';
    DELETE FROM analytics_changed_hours AS h WHERE h.relation = p_relation AND h.hours <@ refreshed;
    UPDATE analytics_changed_hours AS h
    SET hours = h.hours - refreshed
    WHERE h.relation = p_relation AND h.hours && refreshed;
    -- By days: an aggregate that is built on another one is stale from the start of the bucket in which that has changed.
    CREATE TEMP TABLE stale ON COMMIT DROP AS
    SELECT
        t.aggregate,
        analytics_buckets('day', range_agg(tstzrange(t.first_instant, t.last_instant + interval '1 microsecond'))) AS days
    FROM analytics_stale_ranges(lower(refreshed_days), upper(refreshed_days), NULL) AS t
    GROUP BY t.aggregate;
    IF p_granularity = 'hour' THEN
        -- For what is refreshed after it. What is known already was noted for all of them.
        INSERT INTO analytics_changed_hours AS h (relation, company_id, hours)
        SELECT s.aggregate, n.company_id, range_agg(n.instants * s.days)
        FROM noted AS n
        JOIN stale AS s ON s.aggregate <> p_relation AND s.days && n.instants
        WHERE NOT n.is_known
        GROUP BY s.aggregate, n.company_id
        ORDER BY 1, 2
        ON CONFLICT (relation, company_id, by_statement, refreshing) WHERE relation IS NOT NULL
            DO UPDATE SET hours = h.hours + excluded.hours;
        -- Local dates that were closed before their hours.
        INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, zones, cause)
        SELECT NULL, lower(r), upper(r) - interval '1 microsecond', 'local', cause
        FROM unnest(p_unstored) AS r
        WHERE EXISTS (
            SELECT
            FROM analytics_metric_periods AS m
            WHERE m.period_end > lower(r) AND m.period_start < upper(r) AND m.time_zone <> 'UTC'
        );
    ELSE
        INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, granularity, zones, cause)
        SELECT
            NULL, lower(r), upper(r) - interval '1 microsecond', nullif(p_granularity, 'day'),
            CASE WHEN has_local THEN 'UTC' END, cause
        FROM unnest(p_unstored) AS r;
    END IF;
    -- What is not stale is not refreshed: the aggregate it is built on has not changed, or somebody else has refreshed it.
    WITH seen AS (
        SELECT h.ctid AS place, h.company_id, h.hours * refreshed_days - coalesce(s.days, '{}') AS instants
        FROM analytics_changed_hours AS h
        LEFT JOIN stale AS s ON s.aggregate = h.relation
        WHERE h.refreshing IS NULL AND h.hours && refreshed_days
    ),
    taken AS (
        UPDATE analytics_changed_hours AS h
        SET hours = h.hours - s.instants
        FROM seen AS s
        WHERE h.ctid = s.place AND NOT isempty(s.instants)
    )
    INSERT INTO analytics_metric_changes (company_id, changed_from, changed_until, cause)
    SELECT DISTINCT s.company_id, lower(r), upper(r) - interval '1 microsecond', cause
    FROM seen AS s
    CROSS JOIN LATERAL unnest(s.instants) AS r;
    DELETE FROM analytics_changed_hours AS h WHERE isempty(h.hours);
    -- Each aggregate notes the same company and instants: what a later note says as well is not looked through again.
    DELETE FROM analytics_metric_changes AS c
    USING analytics_metric_changes AS l
    WHERE l.change_id > c.change_id AND l.company_id = c.company_id
      AND l.changed_from = c.changed_from AND l.changed_until = c.changed_until
      AND (l.granularity IS NULL OR l.granularity = c.granularity) AND (l.zones IS NULL OR l.zones = c.zones)
      AND l.cause LIKE 'events in %' AND c.cause LIKE 'events in %';
    DROP TABLE noted, stale;
END
$$;

COMMENT ON FUNCTION analytics_settle_refresh IS
    'Notes of which companies a refresh over a half-open window has changed rows, and when: by what had changed or was never stored before it, and by the buckets whose rows differ (of no company: anybody''s; null: they were not compared).';
