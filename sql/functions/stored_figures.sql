-- Figures of closed days, months and years as they are stored, for answers: as long as these are what computing them gives, to
-- the last digit. All others are computed.

-- Where events before a period's end are in no table yet, they may be in what is computed and not in what is stored.
-- Whose a subscription is may be said by a later change. Which companies are for tests may have changed since the events
-- of rows over all companies have expired.
CREATE OR REPLACE FUNCTION analytics_stored_periods(
    p_metric text, p_periods analytics_figure_period[], p_version integer
)
RETURNS TABLE (place bigint, granularity text, period_date date)
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
    revenue CONSTANT text[] := ARRAY['analytics_revenue_hourly', 'analytics_revenue_daily', 'analytics_billing_daily'];
    newest_change bigint := analytics_newest_change();
    horizon timestamptz;
    places bigint[];
    granularities text[];
    dates date[];
    ends timestamptz[];
    first_start timestamptz;
    last_end timestamptz;
    -- What periods are compared with, in whatever time zone.
    year_before timestamptz;
    open_window tstzrange;
    changed_from timestamptz;
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
    SELECT
        array_agg(w.place), array_agg(m.granularity), array_agg(m.period_date), array_agg(m.period_end),
        min(m.period_start), max(m.period_end)
    INTO places, granularities, dates, ends, first_start, last_end
    FROM unnest(p_periods) WITH ORDINALITY AS w (company_id, period_start, period_end, currency, time_zone, place)
    JOIN analytics_metric_periods AS m
        ON m.period_end = w.period_end AND m.period_start = w.period_start AND m.metric = p_metric
       AND m.time_zone = coalesce(w.time_zone, 'UTC') AND m.currency = w.currency
    LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = w.company_id
    WHERE m.definitions_version = p_version
      AND CASE
          WHEN k.company_id IS NULL THEN m.is_platform
          ELSE m.time_zone = k.time_zone AND m.currency = k.currency
      END
      AND NOT analytics_is_kept(m, horizon)
      AND (w.company_id IS NOT NULL OR (m.period_start < horizon) IS NOT TRUE)
      AND (m.changes_seen >= newest_change OR analytics_has_seen_changes(m, w.company_id));
    IF places IS NULL THEN
        RETURN;
    END IF;
    year_before := first_start - interval '367 days';
    FOR open_window IN
        SELECT unnest(
            analytics_open_windows('analytics_users', last_end) + analytics_open_windows('analytics_subscriptions', last_end)
            + analytics_unstored('day', revenue, tstzmultirange(tstzrange(year_before, last_end)))
            + analytics_real_time_ranges(revenue, year_before, last_end)
        )
    LOOP
        IF EXISTS (
            SELECT
            FROM analytics_events AS e
            WHERE e."timestamp" >= coalesce(lower(open_window), '-infinity') AND e."timestamp" < upper(open_window)
        ) THEN
            RETURN;
        END IF;
    END LOOP;
    changed_from := analytics_pending_from(analytics_pending_subscriptions(analytics_period_companies(p_periods)));
    RETURN QUERY
    SELECT f.place, f.granularity, f.period_date
    FROM unnest(places, granularities, dates, ends) AS f (place, granularity, period_date, period_end)
    WHERE f.period_end <= coalesce(changed_from, 'infinity');
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
