-- Closing days, months and years of the metric tables, and which of them have not seen a change.

CREATE OR REPLACE FUNCTION analytics_is_stale(
    p_period analytics_metric_periods, p_change analytics_metric_changes, p_zone text, p_currency text
)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- A balance at a period's start is of the instant before it: hence the start is included.
    SELECT (p_period).period_end > (p_change).changed_from
       AND (p_period).changes_seen < (p_change).change_id
       AND ((p_change).changed_until IS NULL OR (p_period).period_start <= (p_change).changed_until)
       AND ((p_change).first_start IS NULL OR (p_period).period_start >= (p_change).first_start)
       AND ((p_change).granularity IS NULL OR (p_change).granularity = (p_period).granularity)
       AND ((p_change).metrics IS NULL OR (p_period).metric = ANY ((p_change).metrics))
       AND ((p_change).zones IS NULL OR ((p_change).zones = 'UTC') = ((p_period).time_zone = 'UTC'))
       -- What a company changes is in its own rows and, unless it stands for itself, in those over all.
       AND CASE
           WHEN (p_change).is_platform THEN (p_period).is_platform
           WHEN (p_change).company_id IS NULL OR (p_period).is_platform AND NOT (p_change).is_own THEN true
           WHEN p_zone IS NULL THEN (p_period).is_platform
           ELSE (p_period).time_zone = p_zone AND (p_period).currency = p_currency
       END
$$;

COMMENT ON FUNCTION analytics_is_stale IS
    'Whether a closed metric partition has not seen a change that concerns it; time zone and currency are those of the change''s company (null: the platform''s).';

-- By the platform's calendar as figures were closed last.
CREATE OR REPLACE FUNCTION analytics_closed_calendars()
RETURNS TABLE (company_id text, time_zone text, currency text)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT k.company_id, k.time_zone, k.currency
    FROM (
        SELECT m.time_zone, m.currency
        FROM analytics_metric_periods AS m
        WHERE m.is_platform
        ORDER BY m.computed_at DESC
        LIMIT 1
    ) AS p
    CROSS JOIN LATERAL analytics_calendars(p.time_zone, p.currency) AS k
$$;

COMMENT ON FUNCTION analytics_closed_calendars IS
    'Time zone and currency of the companies that have a row, what it leaves open filled in as figures were closed last.';

CREATE OR REPLACE FUNCTION analytics_unseen_changes()
RETURNS TABLE (period analytics_metric_periods, change analytics_metric_changes)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m, c
    FROM analytics_metric_changes AS c
    LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = c.company_id
    JOIN analytics_metric_periods AS m ON analytics_is_stale(m, c, k.time_zone, k.currency)
    WHERE NOT c.is_calendar AND m.is_platform
    UNION ALL
    SELECT m, c
    FROM analytics_metric_changes AS c
    JOIN analytics_metric_periods AS m ON analytics_is_stale(m, c, NULL, NULL)
    WHERE NOT c.is_calendar AND NOT m.is_platform AND c.company_id IS NULL
    UNION ALL
    -- Of a company no other calendar than its own is looked at.
    SELECT m, c
    FROM analytics_metric_changes AS c
    JOIN analytics_closed_calendars() AS k ON k.company_id = c.company_id
    JOIN analytics_metric_periods AS m
        ON m.time_zone = k.time_zone AND m.currency = k.currency AND analytics_is_stale(m, c, k.time_zone, k.currency)
    WHERE NOT c.is_calendar AND NOT m.is_platform
$$;

COMMENT ON FUNCTION analytics_unseen_changes IS
    'The closed metric partitions that have not seen a change that concerns them, each with each such change, but those of companies'' calendars.';

-- Thousands of companies may be moved at once, each of them in every partition there is: they are not paired with them. The
-- platform's partition of a date stands for all of it.
CREATE OR REPLACE FUNCTION analytics_moved_companies(p_seen bigint, p_start timestamptz)
RETURNS text[]
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT array_agg(c.company_id)
    FROM analytics_metric_changes AS c
    WHERE c.is_calendar AND c.change_id > p_seen AND (c.first_start IS NULL OR c.first_start <= p_start)
$$;

COMMENT ON FUNCTION analytics_moved_companies IS
    'The companies that have got another calendar since a change, as far as that concerns periods from an instant on; null: none.';

CREATE OR REPLACE FUNCTION analytics_unseen_calendars(p_horizon timestamptz)
RETURNS TABLE (period analytics_metric_periods, companies text[])
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT m, s.companies
    FROM (
        SELECT
            p.changes_seen, min(c.first_start) AS first_start, bool_or(c.first_start IS NULL) AS is_for_ever,
            CASE WHEN count(DISTINCT c.company_id) <= 100 THEN array_agg(DISTINCT c.company_id) END AS companies
        FROM (SELECT DISTINCT m.changes_seen FROM analytics_metric_periods AS m WHERE m.is_platform) AS p
        JOIN analytics_metric_changes AS c ON c.is_calendar AND c.change_id > p.changes_seen
        GROUP BY p.changes_seen
    ) AS s
    JOIN analytics_metric_periods AS m ON m.is_platform AND m.changes_seen = s.changes_seen
    WHERE (s.is_for_ever OR m.period_start >= s.first_start) AND NOT analytics_is_behind_horizon(m, p_horizon)
$$;

COMMENT ON FUNCTION analytics_unseen_calendars IS
    'The platform''s closed partitions since which companies have got other calendars, with these (null: more than a hundred), but those behind the retention horizon.';

CREATE OR REPLACE FUNCTION analytics_is_outdated(
    p_period analytics_metric_periods, p_version integer, p_zone text, p_currency text
)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
    SELECT coalesce(
        (p_period).definitions_version <> p_version
        OR (p_period).is_platform AND ((p_period).currency <> p_currency OR (p_period).time_zone <> p_zone),
        false
    )
$$;

COMMENT ON FUNCTION analytics_is_outdated IS
    'Whether a closed metric partition follows another version of the definitions, or the platform''s is of another time zone or currency (null: any).';

CREATE OR REPLACE FUNCTION analytics_is_behind_horizon(p_period analytics_metric_periods, p_horizon timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    -- Who has churned in a day follows from the day before.
    SELECT coalesce(
        (p_period).period_start < p_horizon + CASE
            WHEN (p_period).metric = 'user_metrics' AND (p_period).granularity = 'day' THEN interval '24 hours'
            ELSE interval '0'
        END,
        false
    ) AND NOT analytics_is_brought_back(
        CASE
            WHEN (p_period).metric = 'user_metrics' AND (p_period).granularity = 'day'
            THEN (p_period).period_start - interval '24 hours'
            ELSE (p_period).period_start
        END,
        (p_period).period_end
    )
$$;

COMMENT ON FUNCTION analytics_is_behind_horizon IS
    'Whether events that a closed metric partition was computed from have expired (null: none have), and are not brought back.';

-- Months of users, and the other metrics, are computed from what outlives the events; at the edges of local dates from the
-- events alone.
CREATE OR REPLACE FUNCTION analytics_is_kept(p_period analytics_metric_periods, p_horizon timestamptz)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT (
        (p_period).metric = 'user_metrics' AND (p_period).granularity = 'day' OR (p_period).time_zone <> 'UTC'
    ) AND analytics_is_behind_horizon(p_period, p_horizon)
$$;

COMMENT ON FUNCTION analytics_is_kept IS
    'Whether a closed metric partition can''t be computed again, whatever has changed: it keeps its figures.';

-- Without a version, a zone and a currency only changes count. Because of those three nothing is computed again whose
-- events have expired, and because of changes nothing that can't be without them: it keeps its figures.
CREATE OR REPLACE FUNCTION analytics_stale_metric_periods(
    p_version integer DEFAULT NULL, p_zone text DEFAULT NULL, p_currency text DEFAULT NULL,
    p_horizon timestamptz DEFAULT NULL
)
RETURNS TABLE (
    metric text, granularity text, period_date date, time_zone text, currency text,
    period_start timestamptz, period_end timestamptz, companies text[], causes text, has_other_definitions boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT
        (s.period).metric, (s.period).granularity, (s.period).period_date, (s.period).time_zone, (s.period).currency,
        (s.period).period_start, (s.period).period_end,
        CASE
            WHEN bool_and(s.company_id IS NOT NULL) THEN array_agg(DISTINCT s.company_id ORDER BY s.company_id)
        END,
        string_agg(DISTINCT s.cause, ', '), bool_or(s.has_other_definitions)
    FROM (
        SELECT
            u.period, (u.change).company_id, (u.change).cause, false AS has_other_definitions
        FROM analytics_unseen_changes() AS u
        WHERE NOT analytics_is_kept(u.period, p_horizon)
        UNION ALL
        SELECT k.period, c.company_id, 'calendars of companies', false
        FROM analytics_unseen_calendars(p_horizon) AS k
        LEFT JOIN LATERAL unnest(k.companies) AS c (company_id) ON true
        UNION ALL
        SELECT
            m, NULL,
            CASE WHEN m.definitions_version <> p_version THEN 'definitions version ' || m.definitions_version
                 WHEN m.currency <> p_currency THEN 'reporting currency ' || m.currency
                 ELSE 'time zone ' || m.time_zone END,
            coalesce(m.definitions_version <> p_version, false)
        FROM analytics_metric_periods AS m
        WHERE analytics_is_outdated(m, p_version, p_zone, p_currency)
          AND NOT analytics_is_behind_horizon(m, p_horizon)
    ) AS s
    -- A year is no partition: it is closed with its months (analytics_due_years).
    WHERE (s.period).granularity <> 'year'
    GROUP BY s.period
    ORDER BY (s.period).granularity, (s.period).period_date, (s.period).metric, (s.period).time_zone
$$;

COMMENT ON FUNCTION analytics_stale_metric_periods IS
    'Closed days and months to be computed again, of each calendar: changes they have not seen (of these companies; null: of all, or of more than a hundred), other definitions, time zone or currency; and why.';

CREATE OR REPLACE FUNCTION analytics_closed_through(p_metric text, p_granularity text)
RETURNS date
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT min(l.last_date)
    FROM (
        SELECT DISTINCT k.time_zone, k.currency, false AS is_platform FROM analytics_closed_calendars() AS k
        UNION ALL
        SELECT NULL, NULL, true
    ) AS c
    CROSS JOIN LATERAL (
        SELECT max(m.period_date) AS last_date
        FROM analytics_metric_periods AS m
        WHERE m.metric = p_metric AND m.granularity = p_granularity
          AND CASE WHEN c.is_platform THEN m.is_platform
                   ELSE m.time_zone = c.time_zone AND m.currency = c.currency END
    ) AS l
    -- A calendar that is new has none yet, and is no reason to wait.
    WHERE l.last_date IS NOT NULL
$$;

COMMENT ON FUNCTION analytics_closed_through IS
    'The last date, or month, that a metric is closed of in every calendar that is in use; null: none.';

CREATE OR REPLACE FUNCTION analytics_keeps_calendar(p_company text, p_period analytics_metric_periods)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT EXISTS (
        SELECT
        FROM (
            SELECT 'revenue_metrics' AS metric, r.company_id, r.granularity, r.period_date, r.time_zone, r.currency
            FROM analytics_revenue_metrics AS r
            UNION ALL
            SELECT 'mrr_movements', v.company_id, v.granularity, v.period_date, v.time_zone, v.currency
            FROM analytics_mrr_movements AS v
            UNION ALL
            SELECT 'user_metrics', u.company_id, u.granularity, u.period_date, u.time_zone, NULL
            FROM analytics_user_metrics AS u
        ) AS t
        WHERE t.metric = (p_period).metric AND t.granularity = (p_period).granularity
          AND t.period_date = (p_period).period_date AND t.company_id IS NOT NULL
          AND (p_company IS NULL OR t.company_id = p_company)
          AND (t.time_zone <> (p_period).time_zone OR t.currency <> (p_period).currency)
    )
$$;

COMMENT ON FUNCTION analytics_keeps_calendar IS
    'Whether a company (null: any) has a row of the date of a closed partition in another time zone or currency than that.';

CREATE OR REPLACE FUNCTION analytics_closed_for(p_company text, p_granularity text, p_date date)
RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT count(DISTINCT m.metric) = 3
    FROM analytics_metric_periods AS m
    LEFT JOIN analytics_closed_calendars() AS k ON k.company_id = p_company
    WHERE m.granularity = p_granularity AND m.period_date = date_trunc(p_granularity, p_date::timestamp)::date
      AND CASE
          WHEN k.company_id IS NULL THEN m.is_platform
          ELSE m.time_zone = k.time_zone AND m.currency = k.currency
      END
      AND (p_company IS NULL OR NOT analytics_keeps_calendar(p_company, m))
      -- Another calendar of a company changes nothing of others.
      AND NOT coalesce(p_company = ANY (analytics_moved_companies(m.changes_seen, m.period_start)), false)
      AND NOT EXISTS (
          SELECT
          FROM analytics_unseen_changes() AS u
          WHERE (u.period).metric = m.metric AND (u.period).granularity = m.granularity
            AND (u.period).period_date = m.period_date AND (u.period).time_zone = m.time_zone
            AND (u.period).currency = m.currency
            AND CASE
                WHEN p_company IS NULL THEN NOT (u.change).is_own
                ELSE NOT (u.change).is_platform
                     AND ((u.change).company_id IS NULL OR (u.change).company_id = p_company)
            END
      )
$$;

COMMENT ON FUNCTION analytics_closed_for IS
    'Whether the metric tables'' rows of a company (null: the platform''s) for its date, or the month of that, are closed and have seen every change.';

-- The calendars in use, and what each has of the dates from one on up to, not including, another.
CREATE OR REPLACE FUNCTION analytics_due_periods(
    p_metric text, p_granularity text, p_first date, p_until date, p_zone text, p_currency text, p_version integer,
    p_horizon timestamptz, p_ended_by timestamptz
)
RETURNS TABLE (
    time_zone text, currency text, is_platform boolean, period_date date, period_start timestamptz,
    period_end timestamptz, is_closed boolean, is_ended boolean, is_kept boolean, is_stale boolean
)
LANGUAGE sql STABLE
AS $$
    WITH unseen AS MATERIALIZED (
        SELECT u.period
        FROM analytics_unseen_changes() AS u
        WHERE (u.period).metric = p_metric AND (u.period).granularity = p_granularity
          AND (u.period).period_date >= p_first AND (u.period).period_date < p_until
          -- Of these the companies are named that are to be computed.
          AND NOT (u.change).is_own
    ),
    calendar AS MATERIALIZED (
        SELECT p_zone AS time_zone, p_currency AS currency
        UNION
        SELECT k.time_zone, k.currency FROM analytics_calendars(p_zone, p_currency) AS k
    )
    SELECT
        k.time_zone, k.currency, f.is_platform, p.period_date, p.period_start, p.period_end,
        m.metric IS NOT NULL, p.period_end <= p_ended_by,
        CASE
            WHEN m.metric IS NOT NULL THEN analytics_is_kept(m, p_horizon)
            -- Its figures follow another calendar, or were never closed: without their events they stay as they are.
            ELSE coalesce(p.period_start < p_horizon, false)
             AND NOT analytics_is_brought_back(p.period_start - interval '24 hours', p.period_end) AND (
                k.time_zone <> 'UTC'
                OR f.is_platform AND EXISTS (
                    SELECT
                    FROM analytics_metric_periods AS o
                    WHERE o.metric = p_metric AND o.granularity = p_granularity AND o.period_date = p.period_date
                      AND o.is_platform AND o.time_zone <> k.time_zone
                )
            )
        END,
        m.metric IS NULL OR m.definitions_version <> p_version OR m.is_platform <> f.is_platform
        OR EXISTS (
            SELECT
            FROM unseen AS u
            WHERE (u.period).period_date = p.period_date AND (u.period).time_zone = k.time_zone
              AND (u.period).currency = k.currency
        )
    FROM calendar AS k
    CROSS JOIN LATERAL (SELECT k.time_zone = p_zone AND k.currency = p_currency AS is_platform) AS f
    CROSS JOIN LATERAL analytics_local_periods(p_granularity, p_first, p_until, k.time_zone) AS p
    LEFT JOIN analytics_metric_periods AS m
        ON m.metric = p_metric AND m.granularity = p_granularity AND m.period_date = p.period_date
       AND m.time_zone = k.time_zone AND m.currency = k.currency
$$;

COMMENT ON FUNCTION analytics_due_periods IS
    'The days, months or years of a window in each calendar that is in use: whether they are closed, have ended, keep their figures, and are to be computed.';

-- A year is closed once its months are, of the first year those from the first one on that was ever closed, if nothing
-- happened before it; and again when a month of it was closed anew with other figures, or something that concerns it has
-- changed since.
CREATE OR REPLACE FUNCTION analytics_due_years(
    p_metric text, p_zone text, p_currency text, p_version integer, p_horizon timestamptz, p_ended_by timestamptz,
    p_changed_first date, p_changed_until date
)
RETURNS SETOF date
LANGUAGE sql STABLE
AS $$
    WITH closed AS MATERIALIZED (
        SELECT
            date_trunc('year', m.period_date::timestamp)::date AS first_date, min(m.period_date) AS first_month,
            count(DISTINCT m.period_date) AS months,
            lag(1) OVER (ORDER BY date_trunc('year', m.period_date::timestamp)::date) IS NULL AS is_first
        FROM analytics_metric_periods AS m
        WHERE m.metric = p_metric AND m.granularity = 'month' AND m.is_platform
        GROUP BY 1
    )
    SELECT c.first_date
    FROM closed AS c
    WHERE (
          EXISTS (
              SELECT
              FROM analytics_metric_periods AS y
              WHERE y.metric = p_metric AND y.granularity = 'year' AND y.period_date = c.first_date
          )
          OR c.months = 12
          OR c.is_first AND c.months = 13 - extract(month FROM c.first_month)
             AND NOT EXISTS (
                 SELECT
                 FROM analytics_events AS e
                 WHERE e."timestamp" >= c.first_date::timestamp AT TIME ZONE 'UTC'
                   AND e."timestamp" < c.first_month::timestamp AT TIME ZONE 'UTC'
             )
      )
      AND (
          c.first_date < p_changed_until AND c.first_date + interval '1 year' > p_changed_first
          OR EXISTS (
              SELECT
              FROM analytics_due_periods(
                  p_metric, 'year', c.first_date, (c.first_date + interval '1 year')::date, p_zone, p_currency, p_version,
                  p_horizon, p_ended_by
              ) AS d
              WHERE d.is_stale AND d.is_ended AND NOT d.is_kept
          )
          -- Changes of a company's own, which are no reason to compute those of others.
          OR EXISTS (
              SELECT
              FROM analytics_unseen_changes() AS u
              WHERE (u.change).is_own AND (u.period).metric = p_metric AND (u.period).granularity = 'year'
                AND (u.period).period_date = c.first_date AND NOT analytics_is_kept(u.period, p_horizon)
          )
          OR EXISTS (
              SELECT
              FROM analytics_unseen_calendars(p_horizon) AS k
              WHERE (k.period).metric = p_metric AND (k.period).granularity = 'year'
                AND (k.period).period_date = c.first_date
          )
      )
    ORDER BY c.first_date
$$;

COMMENT ON FUNCTION analytics_due_years IS
    'The calendar years, by their first dates, of which all months of a metric are closed, and that are to be computed: since some dates have got other figures, or for another reason.';

-- Every company is computed anew, but for two cases: calendars whose dates were closed before, and have seen every change,
-- are left out while others are not closed; and where nothing but calendars of companies has changed, or a period that
-- theirs are compared with, only these are.
CREATE OR REPLACE FUNCTION analytics_close_metric(
    p_metric text, p_granularity text, p_first date, p_until date, p_zone text, p_currency text, p_version integer,
    p_ended_by timestamptz DEFAULT now()
)
RETURNS TABLE (rows_written bigint, rows_changed bigint)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    relation text := 'analytics_' || p_metric;
    horizon timestamptz;
    taken_in_until timestamptz;
    seen bigint;
    last_date date := (p_until - ('1 ' || p_granularity)::interval)::date;
    -- Null: all.
    only_zones text[];
    only_companies text[];
    -- What figures of other periods stand on: of a year later, and of the period that follows its growth, and who has
    -- churned.
    compared text[] := CASE p_metric
        WHEN 'revenue_metrics' THEN ARRAY['total_revenue', 'mrr', 'unconverted']
        WHEN 'user_metrics' THEN ARRAY['active_fingerprint']
        ELSE '{}'
    END;
    carried text[] := array_remove(compared, 'mrr');
    figures text[];
BEGIN
    PERFORM analytics_lock_changes(true);
    -- Two that compute the same rows take turns; readers don't wait.
    EXECUTE format('LOCK TABLE %I IN SHARE ROW EXCLUSIVE MODE', relation);
    seen := analytics_newest_change();
    horizon := analytics_events_from();
    CREATE TEMP TABLE due ON COMMIT DROP AS
    SELECT *
    FROM analytics_due_periods(
        p_metric, p_granularity, p_first, p_until, p_zone, p_currency, p_version, horizon, p_ended_by
    );
    SELECT analytics_taken_in_until(NULL, min(d.period_start), max(d.period_end))
    INTO taken_in_until
    FROM due AS d
    WHERE d.is_ended;
    CREATE TEMP TABLE calendar ON COMMIT DROP AS
    SELECT k.company_id, k.time_zone, k.currency FROM analytics_calendars(p_zone, p_currency) AS k;

    -- Companies that have another calendar than when they were closed, or another period before.
    SELECT array_agg(DISTINCT c.company_id)
    INTO only_companies
    FROM (
        SELECT (u.change).company_id
        FROM analytics_unseen_changes() AS u
        WHERE (u.change).is_own AND (u.period).metric = p_metric AND (u.period).granularity = p_granularity
          AND (u.period).period_date >= p_first AND (u.period).period_date < p_until
        UNION ALL
        SELECT unnest(analytics_moved_companies(w.changes_seen, w.last_start))
        FROM (
            SELECT min(m.changes_seen) AS changes_seen, max(m.period_start) AS last_start
            FROM analytics_metric_periods AS m
            WHERE m.metric = p_metric AND m.granularity = p_granularity
              AND m.period_date >= p_first AND m.period_date < p_until
        ) AS w
    ) AS c;
    IF EXISTS (
        SELECT
        FROM due AS d
        WHERE d.is_stale AND d.is_ended AND NOT d.is_kept
          AND (
              only_companies IS NULL OR d.is_closed OR d.is_platform
              OR EXISTS (
                  SELECT
                  FROM calendar AS k
                  WHERE k.time_zone = d.time_zone AND k.currency = d.currency AND k.company_id <> ALL (only_companies)
              )
          )
    ) THEN
        SELECT array_agg(DISTINCT z.time_zone)
        INTO only_zones
        FROM (
            SELECT d.time_zone FROM due AS d WHERE d.is_stale AND d.is_ended AND NOT d.is_kept
            UNION
            SELECT coalesce(k.time_zone, p_zone)
            FROM unnest(only_companies) AS c (company_id)
            LEFT JOIN calendar AS k ON k.company_id = c.company_id
        ) AS z;
        only_companies := NULL;
    END IF;

    -- What is stored of the same companies and dates. Rows of another calendar whose events have expired stay.
    EXECUTE format(
        $stored$
            CREATE TEMP TABLE stored ON COMMIT DROP AS
            SELECT
                s.*,
                coalesce(d.is_kept, false) OR (
                    s.period_start < $5
                    AND NOT analytics_is_brought_back(s.period_start - interval '24 hours', s.period_end)
                    AND (s.time_zone <> k.time_zone OR %s)
                ) IS TRUE AS is_kept
            FROM (SELECT * FROM %I AS t WHERE t.granularity = $1 AND t.period_date >= $2 AND t.period_date < $3) AS s
            LEFT JOIN calendar AS c ON c.company_id = s.company_id
            CROSS JOIN LATERAL (
                SELECT coalesce(c.time_zone, $4) AS time_zone, coalesce(c.currency, $6) AS currency
            ) AS k
            LEFT JOIN due AS d
                ON d.time_zone = k.time_zone AND d.currency = k.currency AND d.period_date = s.period_date
            WHERE ($7 IS NULL OR k.time_zone = ANY ($7))
              AND ($8 IS NULL OR array_position($8, s.company_id) IS NOT NULL)
        $stored$,
        CASE WHEN p_metric = 'user_metrics' THEN 'false' ELSE 's.currency <> k.currency' END, relation
    ) USING p_granularity, p_first, p_until, p_zone, horizon, p_currency, only_zones, only_companies;
    EXECUTE format(
        $wanted$
            CREATE TEMP TABLE wanted ON COMMIT DROP AS
            WITH fresh AS MATERIALIZED (
                SELECT r.* FROM %I($1, $2, $3, $4, $5, $6, $7, $8, $9) AS r
            )
            SELECT f.*, d.period_date
            FROM fresh AS f
            LEFT JOIN calendar AS c ON c.company_id = f.company_id
            JOIN due AS d
                ON d.time_zone = f.time_zone AND d.currency = coalesce(c.currency, $5)
               AND d.period_start = f.period_start
            WHERE NOT d.is_kept
              AND NOT EXISTS (
                  SELECT FROM stored AS s
                  WHERE s.is_kept AND s.period_date = d.period_date
                    AND (s.company_id = f.company_id OR s.company_id IS NULL AND f.company_id IS NULL)
              )
        $wanted$, relation || '_rows'
    ) USING p_granularity, p_first, p_until, p_zone, p_currency, p_version, only_zones, only_companies, p_ended_by;
    figures := ARRAY(
        SELECT a.attname::text
        FROM pg_attribute AS a
        WHERE a.attrelid = 'wanted'::regclass AND a.attnum > 0 AND a.attname <> 'period_date'
        ORDER BY a.attnum
    );
    EXECUTE (
        SELECT format(
            $differing$
                CREATE TEMP TABLE differing ON COMMIT DROP AS
                SELECT
                    coalesce(w.company_id, s.company_id) AS company_id,
                    coalesce(w.period_date, s.period_date) AS period_date,
                    coalesce(w.period_start, s.period_start) AS period_start,
                    coalesce(w.period_end, s.period_end) AS period_end,
                    coalesce(w.time_zone, s.time_zone) AS time_zone,
                    CASE WHEN w.period_date IS NOT NULL THEN jsonb_build_object(%s) END AS wanted,
                    CASE WHEN s.period_date IS NOT NULL THEN jsonb_build_object(%s) END AS stored
                FROM wanted AS w
                FULL JOIN (SELECT * FROM stored AS t WHERE NOT t.is_kept) AS s
                    ON coalesce(s.company_id, '') = coalesce(w.company_id, '') AND s.period_date = w.period_date
                WHERE (%s) IS DISTINCT FROM (%s)
            $differing$,
            string_agg(format('%L, w.%I', k, k), ', ') FILTER (WHERE k = ANY (compared)),
            string_agg(format('%L, s.%I', k, k), ', ') FILTER (WHERE k = ANY (compared)),
            string_agg(format('w.%I', k), ', '), string_agg(format('s.%I', k), ', ')
        )
        FROM unnest(figures) AS k
    );
    SELECT count(*) FILTER (WHERE d.company_id IS NOT NULL) INTO rows_changed FROM differing AS d;

    INSERT INTO analytics_metric_changes (
        company_id, changed_from, changed_until, granularity, metrics, is_platform, is_own, cause
    )
    SELECT
        d.company_id, d.period_end, d.period_end, p_granularity, ARRAY[p_metric], d.company_id IS NULL,
        d.company_id IS NOT NULL, p_metric || ' of the period before'
    FROM differing AS d
    WHERE d.period_date = last_date
      AND EXISTS (SELECT FROM unnest(carried) AS c WHERE d.wanted -> c IS DISTINCT FROM d.stored -> c);
    -- What a closed period is compared with, a year later; 29 February 2028 with the 28th of 2027.
    IF p_metric = 'revenue_metrics' THEN
        INSERT INTO analytics_metric_changes (
            company_id, changed_from, changed_until, granularity, metrics, is_platform, is_own, cause
        )
        SELECT
            d.company_id, y.first_instant, y.last_instant, p_granularity, ARRAY['mrr_movements'],
            d.company_id IS NULL, d.company_id IS NOT NULL, p_metric || ' of the year before'
        FROM differing AS d
        CROSS JOIN LATERAL (
            SELECT
                (d.period_start AT TIME ZONE d.time_zone + interval '1 year') AT TIME ZONE d.time_zone
                    AS first_instant,
                (d.period_end AT TIME ZONE d.time_zone + interval '1 year' - interval '1 microsecond')
                    AT TIME ZONE d.time_zone AS last_instant
        ) AS y
        WHERE (d.wanted -> 'total_revenue', d.wanted -> 'mrr', d.wanted -> 'unconverted')
            IS DISTINCT FROM (d.stored -> 'total_revenue', d.stored -> 'mrr', d.stored -> 'unconverted')
          -- Closed in one go with that year, it stands on the same amounts already.
          AND EXISTS (
              SELECT FROM analytics_mrr_movements AS m
              WHERE (m.company_id = d.company_id OR m.company_id IS NULL AND d.company_id IS NULL)
                AND m.granularity = p_granularity
                AND m.period_start >= y.first_instant AND m.period_start <= y.last_instant
                AND (
                    coalesce(d.wanted -> 'unconverted', '[]') <> '[]'
                    OR (m.total_revenue_year_before, m.mrr_year_before) IS DISTINCT FROM (
                        coalesce((d.wanted ->> 'total_revenue')::numeric, 0),
                        coalesce((d.wanted ->> 'mrr')::numeric, 0)
                    )
                )
          );
    END IF;

    EXECUTE format(
        $gone$
            DELETE FROM %I AS t
            USING stored AS s
            WHERE t.granularity = $1 AND t.period_date = s.period_date AND NOT s.is_kept
              AND (t.company_id = s.company_id OR t.company_id IS NULL AND s.company_id IS NULL)
        $gone$, relation
    ) USING p_granularity;
    -- By name: a column that a table has got later stands behind the others.
    EXECUTE (
        SELECT format(
            'INSERT INTO %I (%s) SELECT %s FROM wanted AS w', relation,
            string_agg(quote_ident(k), ', '), string_agg(format('w.%I', k), ', ')
        )
        FROM unnest(figures) AS k
    );
    SELECT count(*) FILTER (WHERE w.company_id IS NOT NULL) INTO rows_written FROM wanted AS w;

    INSERT INTO analytics_metric_periods AS m (
        metric, granularity, period_start, period_end, time_zone, currency, is_platform, definitions_version,
        changes_seen, is_settled
    )
    SELECT
        p_metric, p_granularity, d.period_start, d.period_end, d.time_zone, d.currency, d.is_platform, p_version, seen,
        d.period_end <= taken_in_until
    FROM due AS d
    WHERE d.is_ended AND NOT d.is_kept
      AND (only_zones IS NULL OR d.time_zone = ANY (only_zones))
      AND (
          only_companies IS NULL
          OR EXISTS (
              SELECT FROM calendar AS k
              WHERE k.time_zone = d.time_zone AND k.currency = d.currency AND k.company_id = ANY (only_companies)
          )
      )
    ON CONFLICT (metric, granularity, period_date, time_zone, currency) DO UPDATE SET
        period_start = excluded.period_start, period_end = excluded.period_end, is_platform = excluded.is_platform,
        definitions_version = excluded.definitions_version,
        restated_from = CASE
            WHEN m.definitions_version <> excluded.definitions_version THEN m.definitions_version
            WHEN EXISTS (
                SELECT FROM differing AS f
                WHERE f.period_date = excluded.period_date AND f.time_zone = excluded.time_zone
            ) THEN NULL
            ELSE m.restated_from
        END,
        changes_seen = excluded.changes_seen,
        -- Of other companies' rows it is as it was.
        is_settled = excluded.is_settled AND (only_companies IS NULL OR m.is_settled),
        computed_at = excluded.computed_at;
    -- What is left out had seen every change but those that are named by companies.
    UPDATE analytics_metric_periods AS m
    SET changes_seen = seen
    FROM due AS d
    WHERE m.metric = p_metric AND m.granularity = p_granularity AND m.period_date = d.period_date
      AND m.time_zone = d.time_zone AND m.currency = d.currency AND m.changes_seen < seen
      AND d.is_closed AND NOT d.is_stale AND NOT d.is_kept;
    -- Calendars that nobody has any more, and one that was the platform's.
    DELETE FROM analytics_metric_periods AS m
    WHERE m.metric = p_metric AND m.granularity = p_granularity
      AND m.period_date >= p_first AND m.period_date < p_until
      AND (
          (m.period_start < horizon) IS NOT TRUE
          OR analytics_is_brought_back(m.period_start - interval '24 hours', m.period_end)
      )
      AND NOT EXISTS (
          SELECT FROM due AS d
          WHERE d.period_date = m.period_date AND d.time_zone = m.time_zone AND d.currency = m.currency
      );
    UPDATE analytics_metric_periods AS m
    SET is_platform = false
    FROM due AS d
    WHERE m.metric = p_metric AND m.granularity = p_granularity AND m.period_date = d.period_date AND m.is_platform
      AND d.is_platform AND NOT d.is_kept AND (m.time_zone, m.currency) <> (d.time_zone, d.currency);

    -- What every partition it is about has seen is settled.
    DELETE FROM analytics_metric_changes AS c
    WHERE c.refreshing IS NULL AND CASE
        WHEN c.is_calendar THEN c.change_id <= coalesce(
            (
                SELECT min(m.changes_seen) FROM analytics_metric_periods AS m
                WHERE m.is_platform AND NOT analytics_is_behind_horizon(m, horizon)
            ),
            c.change_id
        )
        ELSE NOT EXISTS (
            SELECT
            FROM analytics_unseen_changes() AS u
            WHERE (u.change).change_id = c.change_id AND NOT analytics_is_kept(u.period, horizon)
        )
    END;
    DROP TABLE due, calendar, stored, wanted, differing;
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION analytics_close_metric IS
    'Computes the days, months or years of a metric table from a date on up to, not including, another: those of each company in its time zone and currency, and the platform''s over all, as far as they have ended by an instant.';
