-- Figures of closed days, months and years as they are stored, for answers: as long as these are what computing them gives, to
-- the last digit. All others are computed.

-- Of events that no table has taken in, figures are read from the events. Whose a subscription is may be said by a later one.
CREATE OR REPLACE FUNCTION analytics_taken_in_until(p_companies text[], p_start timestamptz, p_end timestamptz)
RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    revenue CONSTANT text[] := ARRAY['analytics_revenue_hourly', 'analytics_revenue_daily', 'analytics_billing_daily'];
    -- A period is compared with that of the year before, in whatever time zone.
    year_before CONSTANT timestamptz := p_start - interval '367 days';
    open_window tstzrange;
BEGIN
    FOR open_window IN
        SELECT unnest(
            analytics_open_windows('analytics_users', p_end) + analytics_open_windows('analytics_subscriptions', p_end)
            + analytics_unstored('day', revenue, tstzmultirange(tstzrange(year_before, p_end)))
            + analytics_real_time_ranges(revenue, year_before, p_end)
        )
    LOOP
        IF EXISTS (
            SELECT
            FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(open_window), '-infinity') AND e."timestamp" < upper(open_window)
        ) THEN
            RETURN '-infinity';
        END IF;
    END LOOP;
    RETURN coalesce(analytics_pending_from(analytics_pending_subscriptions(p_companies)), 'infinity');
END
$$;

COMMENT ON FUNCTION analytics_taken_in_until IS
    'Up to which instant figures of some companies (null: of all), of periods within a half-open one, stand on nothing but what users, subscriptions and aggregates have taken in.';

CREATE OR REPLACE FUNCTION analytics_compared_period(p_period analytics_metric_periods)
RETURNS analytics_metric_periods
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT jsonb_populate_record(
        p_period,
        jsonb_build_object('metric', 'revenue_metrics', 'period_start', c.period_start, 'period_end', c.period_end)
    )
    FROM (
        SELECT
            analytics_previous_start((p_period).period_start, (p_period).period_end, (p_period).time_zone) AS period_start,
            (p_period).period_start AS period_end
        WHERE (p_period).metric = 'revenue_metrics'
        UNION ALL
        SELECT y.period_start, y.period_end
        FROM analytics_year_before((p_period).period_start, (p_period).period_end, (p_period).time_zone) AS y
        WHERE (p_period).metric = 'mrr_movements'
    ) AS c
$$;

COMMENT ON FUNCTION analytics_compared_period IS
    'The period whose revenue that of a closed period is compared with, as one that has seen the same changes: the one before, or that of the year before.';

-- Which companies are for tests may have changed since the events of rows over all companies have expired.
CREATE OR REPLACE FUNCTION analytics_stored_periods(
    p_metric text, p_periods analytics_figure_period[], p_version integer
)
RETURNS TABLE (place bigint, granularity text, period_date date)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    newest_change bigint := analytics_newest_change();
    horizon timestamptz;
    places bigint[];
    granularities text[];
    dates date[];
    ends timestamptz[];
    first_start timestamptz;
    last_end timestamptz;
    taken_in_until timestamptz;
BEGIN
    -- Of what has not ended there is nothing, and that is found out at once.
    IF NOT EXISTS (
        SELECT
        FROM unnest(p_periods) AS w
        JOIN analytics_metric_periods AS m
            ON m.period_end = w.period_end AND m.period_start = w.period_start AND m.metric = p_metric
    ) THEN
        RETURN;
    END IF;
    horizon := analytics_events_from();
    WITH candidate AS MATERIALIZED (
        SELECT
            w.place, w.company_id, m AS period,
            dense_rank() OVER (ORDER BY m.granularity, m.period_date, m.time_zone, m.currency) AS number
        FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
        JOIN analytics_metric_periods AS m
            ON m.period_end = w.period_end AND m.period_start = w.period_start AND m.metric = p_metric
           AND m.time_zone = coalesce(w.time_zone, 'UTC') AND m.currency = w.currency
        LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = w.company_id
        WHERE m.definitions_version = p_version AND m.is_settled
          AND CASE
              WHEN k.company_id IS NULL THEN m.is_platform
              ELSE m.time_zone = k.time_zone AND m.currency = k.currency
          END
          AND NOT analytics_is_kept(m, horizon)
          AND (w.company_id IS NOT NULL OR (m.period_start < horizon) IS NOT TRUE)
    ),
    -- Of thousands of companies few periods are asked for: what these have not seen is looked up once.
    behind AS MATERIALIZED (
        SELECT DISTINCT ON (c.number) c.number, c.period
        FROM candidate AS c
        WHERE (c.period).changes_seen < newest_change
        ORDER BY c.number
    ),
    unseen AS MATERIALIZED (
        SELECT DISTINCT b.number, h.company_id, h.is_own, h.is_platform
        FROM behind AS b
        CROSS JOIN LATERAL (VALUES (b.period), (analytics_compared_period(b.period))) AS s (period)
        JOIN analytics_metric_changes AS h ON h.change_id > (b.period).changes_seen AND NOT h.is_calendar
        LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = h.company_id
        WHERE analytics_is_stale(s.period, h, k.time_zone, k.currency)
    ),
    moved AS MATERIALIZED (
        SELECT b.number, unnest(analytics_moved_companies((b.period).changes_seen, (b.period).period_start)) AS company_id
        FROM behind AS b
    )
    SELECT
        array_agg(c.place), array_agg((c.period).granularity), array_agg((c.period).period_date),
        array_agg((c.period).period_end), min((c.period).period_start), max((c.period).period_end)
    INTO places, granularities, dates, ends, first_start, last_end
    FROM candidate AS c
    WHERE CASE
        WHEN c.company_id IS NULL
        THEN NOT EXISTS (SELECT FROM unseen AS u WHERE u.number = c.number AND NOT u.is_own)
        ELSE NOT EXISTS (
                SELECT FROM unseen AS u WHERE u.number = c.number AND u.company_id IS NULL AND NOT u.is_platform
            )
            AND NOT EXISTS (
                SELECT FROM unseen AS u
                WHERE u.number = c.number AND u.company_id = c.company_id AND NOT u.is_platform
            )
            AND NOT EXISTS (SELECT FROM moved AS d WHERE d.number = c.number AND d.company_id = c.company_id)
    END;
    IF places IS NULL THEN
        RETURN;
    END IF;
    taken_in_until := analytics_taken_in_until(analytics_period_companies(p_periods), first_start, last_end);
    RETURN QUERY
    SELECT f.place, f.granularity, f.period_date
    FROM unnest(places, granularities, dates, ends) AS f (place, granularity, period_date, period_end)
    WHERE f.period_end <= taken_in_until;
END
$$;

COMMENT ON FUNCTION analytics_stored_periods IS
    'Which of some periods are closed days, months or years of a metric that have seen every change, by their places: the rows of their companies, as far as there are any, are what the functions give.';

CREATE OR REPLACE FUNCTION analytics_stored_revenue(p_periods analytics_figure_period[], p_version integer)
RETURNS TABLE (place bigint, figures analytics_revenue_metrics)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT s.place, r.row
    FROM analytics_stored_periods('revenue_metrics', p_periods, p_version) AS s
    CROSS JOIN LATERAL unnest(p_periods[s.place:s.place]) AS w
    -- Apart, so that either is found by the index.
    CROSS JOIN LATERAL (
        SELECT m AS row
        FROM analytics_revenue_metrics AS m
        WHERE m.company_id = w.company_id AND m.granularity = s.granularity AND m.period_date = s.period_date
        UNION ALL
        SELECT m
        FROM analytics_revenue_metrics AS m
        WHERE w.company_id IS NULL AND m.company_id IS NULL AND m.granularity = s.granularity
          AND m.period_date = s.period_date
    ) AS r
    WHERE (r.row).time_zone = coalesce(w.time_zone, 'UTC') AND (r.row).currency = w.currency
      AND (r.row).definitions_version = p_version
$$;

COMMENT ON FUNCTION analytics_stored_revenue IS
    'The revenue answer of those of some periods whose stored rows are what computing them gives, by their places.';

CREATE OR REPLACE FUNCTION analytics_stored_movements(p_periods analytics_figure_period[], p_version integer)
RETURNS TABLE (place bigint, figures analytics_mrr_movements)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT s.place, r.row
    FROM analytics_stored_periods('mrr_movements', p_periods, p_version) AS s
    CROSS JOIN LATERAL unnest(p_periods[s.place:s.place]) AS w
    -- Apart, so that either is found by the index.
    CROSS JOIN LATERAL (
        SELECT m AS row
        FROM analytics_mrr_movements AS m
        WHERE m.company_id = w.company_id AND m.granularity = s.granularity AND m.period_date = s.period_date
        UNION ALL
        SELECT m
        FROM analytics_mrr_movements AS m
        WHERE w.company_id IS NULL AND m.company_id IS NULL AND m.granularity = s.granularity
          AND m.period_date = s.period_date
    ) AS r
    WHERE (r.row).time_zone = coalesce(w.time_zone, 'UTC') AND (r.row).currency = w.currency
      AND (r.row).definitions_version = p_version
$$;

COMMENT ON FUNCTION analytics_stored_movements IS
    'What moved MRR, and the rates, of those of some periods whose stored rows are what computing them gives, by their places.';
