-- What the metric tables hold: of each company the days and months of its own time zone, in its own currency, and beside
-- them the platform's, over all companies (company_id is null).

-- By time zone, so that each is read by itself: periods of other zones cut the same events at other instants. Dates that
-- have not ended are no periods yet. The null company is the platform.
CREATE OR REPLACE FUNCTION analytics_calendar_periods(
    p_companies text[], p_granularity text, p_first date, p_until date, p_zone text, p_currency text,
    p_zones text[], p_only text[], p_ended_by timestamptz
)
RETURNS TABLE (time_zone text, periods analytics_figure_period[])
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH company AS MATERIALIZED (
        SELECT
            a.company_id, coalesce(k.time_zone, p_zone) AS time_zone, coalesce(k.currency, p_currency) AS currency
        FROM (SELECT DISTINCT c FROM unnest(p_companies || NULL::text) AS c) AS a (company_id)
        LEFT JOIN analytics_calendars(p_zone, p_currency) AS k ON k.company_id = a.company_id
        WHERE p_only IS NULL OR array_position(p_only, a.company_id) IS NOT NULL
    ),
    period AS MATERIALIZED (
        SELECT z.time_zone, p.period_start, p.period_end
        FROM (SELECT DISTINCT c.time_zone FROM company AS c) AS z
        CROSS JOIN LATERAL analytics_local_periods(p_granularity, p_first, p_until, z.time_zone) AS p
        WHERE p.period_end <= p_ended_by AND (p_zones IS NULL OR z.time_zone = ANY (p_zones))
    )
    SELECT
        p.time_zone,
        array_agg(ROW(c.company_id, p.period_start, p.period_end, c.currency, p.time_zone)::analytics_figure_period)
    FROM period AS p
    JOIN company AS c ON c.time_zone = p.time_zone
    GROUP BY p.time_zone
$$;

COMMENT ON FUNCTION analytics_calendar_periods IS
    'The ended days, months or years from a date on up to, not including, another: of companies and of the platform, each in its own time zone and currency, as far as they have ended by an instant; only those in some zones, or of some companies (null: all), by time zone.';

-- The period before the first one counts for its growth. Local dates reach beyond the UTC ones of the same name.
CREATE OR REPLACE FUNCTION analytics_company_periods(
    p_granularity text, p_first date, p_until date, p_zone text, p_currency text,
    p_zones text[] DEFAULT NULL, p_only text[] DEFAULT NULL, p_ended_by timestamptz DEFAULT now()
)
RETURNS TABLE (time_zone text, periods analytics_figure_period[])
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT p.time_zone, p.periods
    FROM (
        SELECT CASE
            WHEN p_zone = 'UTC'
             AND NOT EXISTS (SELECT FROM analytics_companies AS c WHERE c.time_zone <> 'UTC')
            THEN interval '0' ELSE interval '1 day'
        END AS beyond
    ) AS w
    CROSS JOIN LATERAL analytics_calendar_periods(
        analytics_companies_of(
            (p_first - ('1 ' || p_granularity)::interval - w.beyond) AT TIME ZONE 'UTC',
            (p_until + w.beyond) AT TIME ZONE 'UTC'
        ),
        p_granularity, p_first, p_until, p_zone, p_currency, p_zones, p_only, p_ended_by
    ) AS p
$$;

COMMENT ON FUNCTION analytics_company_periods IS
    'The days, months or years of each company that may have figures in them and of the platform, by time zone, as figures are asked for.';

-- The columns of these functions are those of the tables, but computed_at and the date, which the table makes itself.
CREATE OR REPLACE FUNCTION analytics_revenue_metrics_rows(
    p_granularity text, p_first date, p_until date, p_zone text, p_currency text, p_version integer,
    p_zones text[] DEFAULT NULL, p_only text[] DEFAULT NULL, p_ended_by timestamptz DEFAULT now()
)
RETURNS TABLE (
    company_id text, granularity text, period_start timestamptz, period_end timestamptz, currency text,
    total_revenue numeric, previous_revenue numeric, revenue_growth numeric, invoiced numeric, refunds numeric,
    mrr numeric, arr numeric, paying_customers bigint, arpa numeric, total_users bigint,
    average_revenue_per_user numeric, unconverted jsonb, definitions_version integer, time_zone text
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        f.company_id, p_granularity, f.period_start, f.period_end, f.currency,
        f.total_revenue, f.previous_revenue, f.revenue_growth, f.invoiced, f.refunds,
        f.mrr, f.arr, f.paying_customers, f.arpa, f.total_users, f.average_revenue_per_user,
        f.unconverted, p_version, z.time_zone
    FROM analytics_company_periods(
        p_granularity, p_first, p_until, p_zone, p_currency, p_zones, p_only, p_ended_by
    ) AS z
    CROSS JOIN LATERAL analytics_revenue_figures(z.periods) AS f
    WHERE NOT f.is_empty
$$;

COMMENT ON FUNCTION analytics_revenue_metrics_rows IS
    'What analytics_revenue_metrics must hold of the days, months or years from a date on up to, not including, another.';

-- Users have no currency: the parameter is there because the three are called alike. A company has a row from the period
-- on in which its first user was seen.
CREATE OR REPLACE FUNCTION analytics_user_metrics_rows(
    p_granularity text, p_first date, p_until date, p_zone text, p_currency text, p_version integer,
    p_zones text[] DEFAULT NULL, p_only text[] DEFAULT NULL, p_ended_by timestamptz DEFAULT now()
)
RETURNS TABLE (
    company_id text, granularity text, period_start timestamptz, period_end timestamptz,
    total_users bigint, active_users bigint, new_users bigint, churned_users bigint,
    users_at_start bigint, active_before bigint, churned_of_start bigint,
    churn_rate numeric, active_user_rate numeric, churn_rate_of_start numeric, active_fingerprint bigint,
    definitions_version integer, time_zone text
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        a.company_id, p_granularity, a.period_start, a.period_end,
        a.total_users, a.active_users, a.new_users, a.churned_users, a.users_at_start, a.active_before,
        a.churned_of_start, a.churn_rate, a.active_user_rate, a.churn_rate_of_start, a.active_fingerprint, p_version,
        z.time_zone
    FROM analytics_calendar_periods(
        -- Local dates reach beyond the UTC ones of the same name.
        analytics_user_companies((p_until + interval '1 day') AT TIME ZONE 'UTC'),
        p_granularity, p_first, p_until, p_zone, p_currency, p_zones, p_only, p_ended_by
    ) AS z
    CROSS JOIN LATERAL analytics_user_answers(z.periods) AS a
    WHERE a.seen_users > 0
$$;

COMMENT ON FUNCTION analytics_user_metrics_rows IS
    'What analytics_user_metrics must hold of the days or months from a date on up to, not including, another.';

CREATE OR REPLACE FUNCTION analytics_closed_revenue(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_companies text[], p_together boolean
)
RETURNS SETOF analytics_revenue_metrics
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m.*
    FROM analytics_revenue_metrics AS m
    WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
      AND CASE
          WHEN m.company_id IS NULL THEN p_together
          ELSE p_companies IS NULL OR m.company_id = ANY (p_companies)
      END
$$;

COMMENT ON FUNCTION analytics_closed_revenue IS
    'The closed days, months or years that begin in a half-open window: of these companies (null: of every one), and the platform''s over all (company_id is null) if that is asked for.';

CREATE OR REPLACE FUNCTION analytics_closed_movements(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_companies text[], p_together boolean
)
RETURNS SETOF analytics_mrr_movements
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m.*
    FROM analytics_mrr_movements AS m
    WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
      AND CASE
          WHEN m.company_id IS NULL THEN p_together
          ELSE p_companies IS NULL OR m.company_id = ANY (p_companies)
      END
$$;

COMMENT ON FUNCTION analytics_closed_movements IS
    'The closed days, months or years that begin in a half-open window: of these companies (null: of every one), and the platform''s over all (company_id is null) if that is asked for.';

CREATE OR REPLACE FUNCTION analytics_closed_users(
    p_granularity text, p_start timestamptz, p_end timestamptz, p_companies text[], p_together boolean
)
RETURNS SETOF analytics_user_metrics
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m.*
    FROM analytics_user_metrics AS m
    WHERE m.granularity = p_granularity AND m.period_start >= p_start AND m.period_start < p_end
      AND CASE
          WHEN m.company_id IS NULL THEN p_together
          ELSE p_companies IS NULL OR m.company_id = ANY (p_companies)
      END
$$;

COMMENT ON FUNCTION analytics_closed_users IS
    'The closed days or months that begin in a half-open window: of these companies (null: of every one), and the platform''s over all (company_id is null) if that is asked for.';
