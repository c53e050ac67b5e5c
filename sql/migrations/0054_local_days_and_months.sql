-- Closed days and months are those of a calendar: each company's dates begin and end in its own time zone, and its amounts
-- are in its own currency. Beside the companies' rows stands the platform's, over all of them: its company_id is null.

DO $$
DECLARE
    metric text;
BEGIN
    FOREACH metric IN ARRAY ARRAY['analytics_revenue_metrics', 'analytics_mrr_movements', 'analytics_user_metrics']
    LOOP
        EXECUTE format(
            $columns$
                ALTER TABLE %1$I
                    ADD COLUMN IF NOT EXISTS time_zone text NOT NULL DEFAULT 'UTC',
                    ADD COLUMN IF NOT EXISTS period_date date NOT NULL
                        GENERATED ALWAYS AS ((period_start AT TIME ZONE time_zone)::date) STORED
            $columns$, metric
        );
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS %I', metric, metric || '_pkey');
        EXECUTE format('ALTER TABLE %I ALTER COLUMN company_id DROP NOT NULL', metric);
        EXECUTE format(
            'CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (company_id, granularity, period_date) NULLS NOT DISTINCT',
            metric || '_company_idx', metric
        );
        EXECUTE format(
            'CREATE INDEX IF NOT EXISTS %I ON %I (granularity, period_date)', metric || '_date_idx', metric
        );
        EXECUTE format(
            'COMMENT ON COLUMN %I.company_id IS %L', metric,
            'The tenant; null: the platform''s row, over all companies but those for tests. It is no sum of the others: '
            'leave it out where companies are summed or listed.'
        );
        EXECUTE format(
            'COMMENT ON COLUMN %I.time_zone IS %L', metric, 'The time zone whose date the period is.'
        );
        EXECUTE format(
            'COMMENT ON COLUMN %I.period_date IS %L', metric,
            'The date, of a month its first one; period_start and period_end are its instants in the time zone.'
        );
    END LOOP;
END
$$;

ALTER TABLE analytics_metric_periods
    ADD COLUMN IF NOT EXISTS time_zone text NOT NULL DEFAULT 'UTC',
    ADD COLUMN IF NOT EXISTS period_date date NOT NULL
        GENERATED ALWAYS AS ((period_start AT TIME ZONE time_zone)::date) STORED,
    ADD COLUMN IF NOT EXISTS is_platform boolean NOT NULL DEFAULT true;
ALTER TABLE analytics_metric_periods DROP CONSTRAINT IF EXISTS analytics_metric_periods_pkey;
ALTER TABLE analytics_metric_periods
    ADD CONSTRAINT analytics_metric_periods_pkey
        PRIMARY KEY (metric, granularity, period_date, time_zone, currency);
CREATE INDEX IF NOT EXISTS analytics_metric_periods_platform_idx
    ON analytics_metric_periods (computed_at) WHERE is_platform;

COMMENT ON TABLE analytics_metric_periods IS
    'Closed days and months of the metric tables, a row for each calendar (time zone and currency) that has companies: by '
    'which definitions, and the newest change they have seen.';
COMMENT ON COLUMN analytics_metric_periods.is_platform IS
    'Whether it is the platform''s calendar: that of the rows over all companies, and of companies without one of their own.';

-- What a change concerns besides its company and its instants.
ALTER TABLE analytics_metric_changes
    -- Only the rows over all companies.
    ADD COLUMN IF NOT EXISTS is_platform boolean NOT NULL DEFAULT false,
    -- Only the company's own rows: its figures of a period that others are compared with.
    ADD COLUMN IF NOT EXISTS is_own boolean NOT NULL DEFAULT false,
    -- A company has another calendar: its rows are to be computed again, and nobody else's.
    ADD COLUMN IF NOT EXISTS is_calendar boolean NOT NULL DEFAULT false,
    -- Periods that begin before it keep what they have: the retention horizon when a calendar was changed.
    ADD COLUMN IF NOT EXISTS first_start timestamptz,
    -- Only calendars in UTC, or only those that are not; null: all.
    ADD COLUMN IF NOT EXISTS zones text CHECK (zones IN ('UTC', 'local'));

CREATE INDEX IF NOT EXISTS analytics_metric_changes_calendar_idx
    ON analytics_metric_changes (change_id) WHERE is_calendar;

-- Hours whose events have changed since a continuous aggregate of days or months was refreshed over them: by them the local
-- days are known that have changed, which the refresh of a whole UTC day does not say.
CREATE TABLE IF NOT EXISTS analytics_changed_hours (
    relation text           PRIMARY KEY,
    hours    tstzmultirange NOT NULL
);

COMMENT ON TABLE analytics_changed_hours IS
    'Hours (UTC) of changed events that an aggregate of days or months has not been refreshed over since.';

-- What the tables hold already is shown over all companies as before: every company was in UTC and in the base currency, so
-- that sums are what the platform's rows hold, and what one company lacks all together lack. A database of a release that
-- can't derive the rates from them gets these rows when it is closed again.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM unnest(ARRAY[
            'analytics_derived_revenue(numeric,numeric,numeric,bigint,bigint,jsonb)',
            'analytics_user_rates(numeric,numeric,numeric,numeric,numeric)',
            'analytics_percentage(numeric,numeric)', 'analytics_fraction(numeric,numeric,numeric)',
            'analytics_ratio(numeric,bigint)', 'analytics_growth(numeric,numeric,boolean)'
        ]) AS f (needed)
        WHERE to_regprocedure(f.needed) IS NULL
    ) THEN
        UPDATE analytics_metric_periods SET is_platform = false;
        RETURN;
    END IF;
    INSERT INTO analytics_revenue_metrics (
        granularity, period_start, period_end, currency, total_revenue, previous_revenue, revenue_growth, invoiced,
        refunds, mrr, arr, paying_customers, arpa, total_users, average_revenue_per_user, unconverted,
        definitions_version, computed_at
    )
    SELECT
        s.granularity, s.period_start, s.period_end, s.currency, s.total_revenue, s.previous_revenue, d.revenue_growth,
        s.invoiced, s.refunds, s.mrr, d.arr, s.paying_customers, d.arpa, s.total_users, d.average_revenue_per_user,
        s.unconverted, s.definitions_version, s.computed_at
    FROM (
        SELECT
            m.granularity, m.period_start, m.period_end, m.currency,
            sum(m.total_revenue) AS total_revenue, sum(m.previous_revenue) AS previous_revenue,
            sum(m.invoiced) AS invoiced, sum(m.refunds) AS refunds, sum(m.mrr) AS mrr,
            sum(m.paying_customers)::bigint AS paying_customers, sum(m.total_users)::bigint AS total_users,
            jsonb_path_query_array(jsonb_agg(m.unconverted), '$[*][*]') AS unconverted,
            min(m.definitions_version) AS definitions_version, min(m.computed_at) AS computed_at
        FROM analytics_revenue_metrics AS m
        WHERE m.company_id IS NOT NULL
        GROUP BY m.granularity, m.period_start, m.period_end, m.currency
    ) AS s
    CROSS JOIN LATERAL analytics_derived_revenue(
        s.total_revenue, s.previous_revenue, s.mrr, s.paying_customers, s.total_users, s.unconverted
    ) AS d
    ON CONFLICT DO NOTHING;

    INSERT INTO analytics_mrr_movements (
        granularity, period_start, period_end, currency, start_mrr, new, reactivation, expansion, contraction, churn, fx,
        end_mrr, unconverted, definitions_version, computed_at, expansion_of_paying, new_customers, returned_customers,
        lost_customers, customers_at_start, paying_customers, mrr_at_start, mrr, mrr_year_before, total_revenue,
        total_revenue_year_before, gross_mrr_churn_rate, net_mrr_churn_rate, gross_revenue_retention,
        net_revenue_retention, quick_ratio, customer_churn_rate, arpa_growth, lifetime_value,
        total_revenue_year_over_year, mrr_year_over_year
    )
    SELECT
        s.*,
        analytics_percentage(r.lost, r.start_mrr),
        analytics_percentage(r.lost - s.expansion - s.reactivation, r.start_mrr),
        analytics_percentage(r.start_mrr - r.lost, r.start_mrr),
        analytics_percentage(r.start_mrr - r.lost + s.expansion_of_paying, r.start_mrr),
        CASE WHEN r.lost > 0 THEN analytics_fraction(s.new + s.reactivation + s.expansion, 1, r.lost) END,
        r.churn_rate,
        analytics_growth(r.arpa, r.arpa_before, true),
        CASE WHEN s.granularity = 'month' AND r.churn_rate > 0 THEN analytics_fraction(r.arpa, 100, r.churn_rate) END,
        analytics_growth(s.total_revenue, s.total_revenue_year_before, true),
        analytics_growth(s.mrr, s.mrr_year_before, true)
    FROM (
        SELECT
            m.granularity, m.period_start, m.period_end, m.currency,
            sum(m.start_mrr) AS start_mrr, sum(m.new) AS new, sum(m.reactivation) AS reactivation,
            sum(m.expansion) AS expansion, sum(m.contraction) AS contraction, sum(m.churn) AS churn, sum(m.fx) AS fx,
            sum(m.end_mrr) AS end_mrr,
            jsonb_path_query_array(jsonb_agg(m.unconverted), '$[*][*]') AS unconverted,
            min(m.definitions_version) AS definitions_version, min(m.computed_at) AS computed_at,
            CASE WHEN count(m.expansion_of_paying) = count(*) THEN sum(m.expansion_of_paying) END AS expansion_of_paying,
            CASE WHEN count(m.new_customers) = count(*) THEN sum(m.new_customers)::bigint END AS new_customers,
            CASE WHEN count(m.returned_customers) = count(*) THEN sum(m.returned_customers)::bigint END
                AS returned_customers,
            CASE WHEN count(m.lost_customers) = count(*) THEN sum(m.lost_customers)::bigint END AS lost_customers,
            CASE WHEN count(m.customers_at_start) = count(*) THEN sum(m.customers_at_start)::bigint END
                AS customers_at_start,
            CASE WHEN count(m.paying_customers) = count(*) THEN sum(m.paying_customers)::bigint END AS paying_customers,
            CASE WHEN count(m.mrr_at_start) = count(*) THEN sum(m.mrr_at_start) END AS mrr_at_start,
            CASE WHEN count(m.mrr) = count(*) THEN sum(m.mrr) END AS mrr,
            CASE WHEN count(m.mrr_year_before) = count(*) THEN sum(m.mrr_year_before) END AS mrr_year_before,
            CASE WHEN count(m.total_revenue) = count(*) THEN sum(m.total_revenue) END AS total_revenue,
            CASE WHEN count(m.total_revenue_year_before) = count(*) THEN sum(m.total_revenue_year_before) END
                AS total_revenue_year_before
        FROM analytics_mrr_movements AS m
        WHERE m.company_id IS NOT NULL
        GROUP BY m.granularity, m.period_start, m.period_end, m.currency
    ) AS s
    CROSS JOIN LATERAL (
        SELECT
            CASE WHEN s.unconverted = '[]' THEN s.start_mrr END AS start_mrr,
            CASE WHEN s.unconverted = '[]' THEN s.contraction + s.churn END AS lost,
            analytics_ratio(s.mrr, s.paying_customers) AS arpa,
            analytics_ratio(s.mrr_at_start, s.customers_at_start) AS arpa_before,
            analytics_percentage(s.lost_customers, s.customers_at_start) AS churn_rate
    ) AS r
    ON CONFLICT DO NOTHING;

    INSERT INTO analytics_user_metrics (
        granularity, period_start, period_end, total_users, active_users, new_users, churned_users, users_at_start,
        active_before, churned_of_start, active_fingerprint, definitions_version, computed_at, churn_rate,
        active_user_rate, churn_rate_of_start
    )
    SELECT s.*, r.churn_rate, r.active_user_rate, r.churn_rate_of_start
    FROM (
        SELECT
            m.granularity, m.period_start, m.period_end, sum(m.total_users)::bigint AS total_users,
            CASE WHEN count(m.active_users) = count(*) THEN sum(m.active_users)::bigint END AS active_users,
            CASE WHEN count(m.new_users) = count(*) THEN sum(m.new_users)::bigint END AS new_users,
            CASE WHEN count(m.churned_users) = count(*) THEN sum(m.churned_users)::bigint END AS churned_users,
            CASE WHEN count(m.users_at_start) = count(*) THEN sum(m.users_at_start)::bigint END AS users_at_start,
            CASE WHEN count(m.active_before) = count(*) THEN sum(m.active_before)::bigint END AS active_before,
            CASE WHEN count(m.churned_of_start) = count(*) THEN sum(m.churned_of_start)::bigint END AS churned_of_start,
            bit_xor(m.active_fingerprint) AS active_fingerprint,
            min(m.definitions_version) AS definitions_version, min(m.computed_at) AS computed_at
        FROM analytics_user_metrics AS m
        WHERE m.company_id IS NOT NULL
        GROUP BY m.granularity, m.period_start, m.period_end
    ) AS s
    CROSS JOIN LATERAL analytics_user_rates(
        s.total_users, s.active_users, s.churned_users, s.active_before, s.churned_of_start
    ) AS r
    ON CONFLICT DO NOTHING;
END
$$;

-- Their results or what they take are others now, or nobody asks them any more.
DROP FUNCTION IF EXISTS analytics_revenue_metrics_together(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_mrr_movements_together(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_user_metrics_together(text, timestamptz, timestamptz);
DROP FUNCTION IF EXISTS analytics_revenue_metrics_rows(text, timestamptz, timestamptz, text, integer);
DROP FUNCTION IF EXISTS analytics_mrr_movements_rows(text, timestamptz, timestamptz, text, integer);
DROP FUNCTION IF EXISTS analytics_user_metrics_rows(text, timestamptz, timestamptz, text, integer);
DROP FUNCTION IF EXISTS analytics_company_periods(text, timestamptz, timestamptz, text);
DROP FUNCTION IF EXISTS analytics_close_metric(text, text, timestamptz, timestamptz, text, integer);
DROP FUNCTION IF EXISTS analytics_note_metric(
    text, text, timestamptz, timestamptz, text, integer, bigint, timestamptz[]
);
DROP FUNCTION IF EXISTS analytics_note_refresh(timestamptz, timestamptz, text, text);
DROP FUNCTION IF EXISTS analytics_is_stale(analytics_metric_periods, analytics_metric_changes);
DROP FUNCTION IF EXISTS analytics_is_outdated(analytics_metric_periods, integer, text);
DROP FUNCTION IF EXISTS analytics_stale_metric_periods(integer, text, timestamptz);
DROP FUNCTION IF EXISTS analytics_closed_users(text, timestamptz, timestamptz, text[], boolean);
DROP FUNCTION IF EXISTS analytics_signoff_obstacles(text, timestamptz, integer, text);
DROP FUNCTION IF EXISTS analytics_sign_month(text, timestamptz, text, text, integer, text, jsonb);

-- What a company's calendar is changes its own figures, and whether it is one for tests none but the platform's. Behind the
-- retention horizon figures keep the calendar that they were computed by.
CREATE OR REPLACE FUNCTION analytics_note_calendar()
RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM analytics_metric_periods) THEN
        RETURN NULL;
    END IF;
    PERFORM analytics_lock_changes(false);
    INSERT INTO analytics_metric_changes (company_id, changed_from, first_start, is_calendar, cause)
    SELECT DISTINCT c.company_id, '-infinity'::timestamptz, analytics_events_from(), true, 'calendar of the company'
    FROM (VALUES (OLD.company_id), (NEW.company_id)) AS c (company_id)
    WHERE c.company_id IS NOT NULL
      -- Without a row a company has the platform's calendar, as with one that leaves it open.
      AND (
          CASE WHEN OLD.company_id = c.company_id THEN OLD.time_zone END,
          CASE WHEN OLD.company_id = c.company_id THEN OLD.currency END
      ) IS DISTINCT FROM (
          CASE WHEN NEW.company_id = c.company_id THEN NEW.time_zone END,
          CASE WHEN NEW.company_id = c.company_id THEN NEW.currency END
      );
    IF coalesce(OLD.is_test, false) <> coalesce(NEW.is_test, false) THEN
        INSERT INTO analytics_metric_changes (company_id, changed_from, first_start, is_platform, cause)
        VALUES (NULL, '-infinity', analytics_events_from(), true, 'test companies');
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION analytics_note_calendar IS
    'Notes that a company has got another time zone or currency, or counts in figures over all companies no more or again.';

CREATE OR REPLACE TRIGGER analytics_note_calendar
    AFTER INSERT OR UPDATE OR DELETE ON analytics_companies
    FOR EACH ROW EXECUTE FUNCTION analytics_note_calendar();
